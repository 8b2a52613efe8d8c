#!/bin/sh
# policy readonly: foreign writes get EROFS with a sentence, writes at home go on.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
write_config '{"policy": {"b": "readonly"}}'
start_mount
fails_with 'Read-only file system' in_repo a sh -c 'echo x >../b/new'
fails_with 'Read-only file system' in_repo a sh -c 'echo x >../b/README.md'
fails_with 'Read-only file system' in_repo a rm ../b/README.md
fails_with 'Read-only file system' in_repo a mkdir ../b/d
eq "$(git -C "$R/b" status --porcelain)" '' 'status of b'
eq "$(in_repo a cat ../b/README.md)" '# b' 'reading b'
tail -n 1 "$M/.rrm/errors" | grep -q EROFS || die "no EROFS in errors: $(cat "$M/.rrm/errors")"
tail -n 1 "$M/.rrm/errors" | grep -qi 'mkdir b/d: .*read.\{0,1\}only' || die "no sentence: $(cat "$M/.rrm/errors")"
check in_repo b sh -c 'echo x >new'
eq "$(cat "$R/b/new")" x 'a write at home'
check in_repo b sh -c 'echo x >../a/from_b'
eq "$(cat "$R/a/from_b")" x 'a write from b into a'
stop_mount
