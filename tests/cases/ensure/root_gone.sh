#!/bin/sh
# A repository that is deleted, moved or replaced while its backend runs: status and ensure say so, the backend
# ends, by ensure, by gc, and by itself under a mount; another directory in its place gets another backend.
. "${0%/*}/../lib.sh"
write_config '{"backend":"embedded"}'
make_repo a
reg=$(state_dir a)/registry.json
gone() {
	! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"
}
started() {
	check rrm ensure a >/dev/null
	pid=$(jq .pid "$reg")
}

started
mv "$R/a" "$R/moved"
rrm status a | grep -q "last error: its directory $R/a is gone; if it was moved, run" ||
	die "status says: $(rrm status a)"
fails_with "its directory $R/a is gone" rrm ensure a
check gone "$pid"
eq "$(jq -r '"\(.state) \(.pid)"' "$reg")" 'failed 0' 'the registry'
fails_with "its directory $R/a is gone" rrm ensure a

mv "$R/moved" "$R/a"
started
mv "$R/a" "$R/moved"
rrm gc | grep -q "its repository's directory is gone" || die 'gc does not say what it did'
check gone "$pid"

# Another one in its place: the old backend must not go on with the old directory.
mv "$R/moved" "$R/a"
started
mv "$R/a" "$R/moved"
git clone -q "$R/moved" "$R/a"
check rrm ensure a >/dev/null
check gone "$pid"
echo hi | check rrm write a/new
eq "$(cat "$R/a/new")" hi 'what was written'
[ ! -e "$R/moved/new" ] || die 'the write went to the directory that was moved away'

# Under a mount nobody needs to ask.
start_mount
started
rm -rf "$R/a"
wait_until "gone $pid && [ ! -e $reg ]"
git clone -q "$R/moved" "$R/a"
started
mv "$R/a" "$R/moved2"
git clone -q "$R/moved" "$R/a"
wait_until "gone $pid && [ \"\$(jq -r .state $reg)\" = ready ]"
stop_mount
