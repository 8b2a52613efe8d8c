#!/bin/sh
# The registry cannot be read for a while: a running server goes on with what it has, and so does the one that
# takes its place.
# timeout: 60
. "${0%/*}/../lib.sh"
make_repo a
# points TO: at one stroke, so that it is never just empty
points() {
	ln -s "$1" "$S/repos.new"
	mv -T "$S/repos.new" "$S/repos"
}
mv "$S/repos" "$S/repos.real"
points repos.real
start_mount
exec 3<"$M/a/README.md"
points repos # ELOOP
kill_server
kill_server
eq "$(cat "$M/a/src/deep/"* | wc -c)" "$(cat "$R/a/src/deep/"* | wc -c)" 'what a successor shows'
eq "$(cat <&3)" '# a' 'a file that was open all the time'
exec 3<&-
grep -q event=reload "$T/mount.log" || die 'nobody was told'
points repos.real
kill_server
check in_repo a sh -c 'echo x >x'
eq "$(cat "$R/a/x")" x 'what was written'
stop_mount
