#!/bin/sh
# SIGTERM while writers wait in line and the same directory changes outside all the time: the server ends
# without waiting for their turns, and every writer gets an error.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
write_config '{"lock_timeout_ms": 300000}' # what waits for a turn would wait longer than this case
mkdir "$R/a/d"
start_mount
check in_repo b sh -c 'echo x >../a/d/first'
rrm lock a -- sh -c ": >'$T/held'; exec sleep 300" &
lock=$!
wait_until '[ -e "$T/held" ]'
writers=
for i in 1 2 3 4; do
	in_repo b sh -c "echo x >../a/d/wait$i" 2>"$T/x/wait$i" &
	writers="$writers $!"
done
in_repo a sh -c 'mkdir d/home' 2>"$T/x/home" &
writers="$writers $!"
(while [ -e "$R/a/d" ]; do
	echo x >"$R/a/d/out"
	rm "$R/a/d/out"
done) 2>/dev/null &
outside=$!
wait_until 'rrm status a --json | jq -e "[.. | .waiters? // empty | length] | add > 0" >/dev/null' 30
kill "$mount_pid"
wait_until "! kill -0 $mount_pid 2>/dev/null"
mount_pid=
mv "$R/a/d" "$R/a/e"
wait "$outside" || true
for pid in $writers; do
	wait_until "! kill -0 $pid 2>/dev/null"
	refuse wait "$pid"
done
kill "$lock"
wait "$lock" || true
eq "$(find "$R/a/e" -name 'wait*' -o -name home)" '' 'what was written all the same'
