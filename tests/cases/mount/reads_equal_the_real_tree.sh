#!/bin/sh
# What the mount shows of a repository is the real tree: names, contents, modes, times, links.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
mkdir "$R/a/empty" "$R/a/many"
for i in $(seq 600); do
	echo "$i" >"$R/a/many/file-$i"
done
head -c 3000000 /dev/urandom >"$R/a/big"
: >"$R/a/none"
chmod 755 "$R/a/src/main.c"
touch -d '2001-02-03 04:05:06.123456789 UTC' "$R/a/README.md"
truncate -s 64M "$R/a/sparse"
start_mount

check diff -r --no-dereference "$R/a" "$M/a"
check diff -r --no-dereference "$R/b" "$M/b"
list() {
	# the root's own line differs in nothing but its name
	(cd "$1" && find . -printf '%p %y %m %s %T@ %l %n %i\n' | sort)
}
list "$R/a" >"$T/x/real"
list "$M/a" >"$T/x/seen"
check diff "$T/x/real" "$T/x/seen"
eq "$(ls "$M")" "a
b" 'the root of the mount'
eq "$(stat -c %b "$M/a/sparse")" "$(stat -c %b "$R/a/sparse")" 'blocks of a sparse file'
check cmp "$R/a/big" "$M/a/big"
eq "$(tail -c +2999990 "$M/a/big" | sha256sum)" "$(tail -c +2999990 "$R/a/big" | sha256sum)" 'the end of a file'
stop_mount
