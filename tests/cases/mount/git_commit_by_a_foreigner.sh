#!/bin/sh
# A person at home in a commits in b: git's 0444 objects, lock files and renames all go through b's
# gateway.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
check in_repo a sh -c 'echo changed >>../b/README.md && git -C ../b add -A && git -C ../b commit -qm foreign'
eq "$(git -C "$R/b" log -1 --format=%s)" foreign 'the last commit of b'
eq "$(git -C "$R/b" status --porcelain)" '' 'status of b'
eq "$(git -C "$R/b" fsck --strict --no-dangling 2>&1)" '' 'fsck of b'
find "$R/b/.git/objects" -type f -newer "$R/a/README.md" | grep -q . || die 'no new objects'
id_a=$(repo_id a)
check rrm stop b >/dev/null
eq "$(audit b .actor.home | sort -u)" "$id_a" 'home in every record'
eq "$(audit b 'select(.result != "ok") | [.op, .path, .result]' | grep -v EEXIST || true)" '' 'failed operations'
[ "$(audit_count b '.op == "create"')" -ge 5 ] || die "few creates: $(audit b '[.op,.path]')"
check rrm log b --verify >/dev/null
stop_mount
