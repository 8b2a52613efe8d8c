#!/bin/sh
# File names are bytes: not UTF-8, spaces, newlines, 255 bytes; at home and foreign.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
bad=$(printf 'caf\351 \377')
nl=$(printf 'two\nlines')
long=$(head -c 255 /dev/zero | tr '\0' l)
for n in "$bad" "$nl" "$long" ' ' '-n' '"quo\te"' 'ünï'; do
	check in_repo a sh -c 'echo foreign >"../b/$1" && echo home >"./$1"' sh "$n"
	eq "$(cat "$R/b/$n")" foreign "foreign file $n"
	eq "$(cat "$R/a/$n")" home "home file $n"
	eq "$(cat "$M/b/$n")" foreign "foreign file $n in the mount"
	check in_repo a sh -c 'mv "../b/$1" ../b/tmp && mv ../b/tmp "../b/$1"' sh "$n"
done
fails_with 'File name too long' in_repo a sh -c "echo x >../b/${long}l"
check diff -r --no-dereference "$R/b" "$M/b"
check rrm stop b >/dev/null
eq "$(audit b 'select(.path_hex != null and .op != "rename") | .path_hex' | sort -u)" 636166e920ff 'the exact bytes in the audit'
audit b . >"$T/x/all" || die 'a record is not JSON'
check rrm log b --verify >/dev/null
stop_mount
