#!/bin/sh
# kill -9 of guard and server at the worst moment, with writers inside and outside at once: it ends, all of it
# (a thread that waited for an answer of its own would stay for ever, and with it the mount), and the next one serves.
. "${0%/*}/../lib.sh"
make_repo a
mkdir "$R/a/stress"
for i in 1 2 3; do
	check rrm-mount "$M"
	in_repo a rrm-coherence "$M/a/stress" "$R/a/stress" 3 >/dev/null 2>&1 &
	load=$!
	wait_until 'ls "$R/a/stress" | grep -q .'
	sleep 0.$((i * 3))
	pid=$(server_pid)
	guard=$(guard_pid)
	kill_mount
	wait "$load" || true
	wait_until "! grep -lq '^State:.[^Z]' /proc/$pid/task/*/status /proc/$guard/status 2>/dev/null"
done
check rrm-mount "$M"
eq "$(cat "$M/a/README.md")" '# a' 'a read through the new server'
check rrm-mount -u "$M"
