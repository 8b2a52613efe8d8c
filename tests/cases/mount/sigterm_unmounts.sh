#!/bin/sh
# SIGTERM: the server finishes, unmounts and leaves nothing, also while something has its directory there.
. "${0%/*}/../lib.sh"
make_repo a
for busy in no yes; do
	check rrm-mount "$M"
	pid=$(jq .pid "$S/mount.json")
	if [ "$busy" = yes ]; then
		(cd "$M/a" && exec sleep 60) &
		sleeper=$!
		wait_until "[ \"\$(readlink /proc/$sleeper/cwd)\" = '$M/a' ]"
	fi
	kill "$pid"
	wait_until "! kill -0 $pid 2>/dev/null"
	wait_until '! mounted'
	refuse test -e "$S/mount.json"
done
kill "$sleeper"
wait "$sleeper" 2>/dev/null || true
