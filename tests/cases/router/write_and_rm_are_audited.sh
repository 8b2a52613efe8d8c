#!/bin/sh
# rrm write and rrm rm change a repository without a mount: through its backend, one audit record each.
. "${0%/*}/../lib.sh"
make_repo a
echo v1 | check rrm write a/VERSION
eq "$(cat "$R/a/VERSION")" v1 'a new file'
echo longer than before | check rrm write a/VERSION
echo v3 | check rrm write "$R/a/VERSION"
eq "$(cat "$R/a/VERSION")" v3 'a replaced file'
check rrm write a/empty </dev/null
eq "$(stat -c %s "$R/a/empty")" 0 'an empty file'
seq 600000 >"$T/big"
check rrm write a/src/big <"$T/big"
check cmp "$T/big" "$R/a/src/big"
check rrm write a/src/big <"$R/a/src/big"
check cmp "$T/big" "$R/a/src/big"
check rrm rm a/empty
refuse test -e "$R/a/empty"
# a slow machine makes more than one record of the calls of a write
eq "$(audit a 'select(.path == "VERSION" and .result == "ok") | .bytes' | awk '{ n += $1 } END { print n }')" \
	25 'bytes in the records of VERSION'
eq "$(audit a 'select(.path == "src/big" and .result == "ok") | .bytes' | awk '{ n += $1 } END { print n }')" \
	$((2 * $(stat -c %s "$T/big"))) 'bytes in the records of src/big'
eq "$(audit_count a '.op == "unlink" and .path == "empty"')" 1 'records of the removal'
eq "$(audit a 'select(.path == "VERSION") | .epoch' | sort -nu | wc -l)" 3 'a turn each'
check rrm log a --verify >/dev/null
check rrm stop --all >/dev/null
