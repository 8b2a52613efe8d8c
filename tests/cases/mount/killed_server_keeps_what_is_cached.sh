#!/bin/sh
# kill -9 of the server while nothing changes outside: what the kernel has cached stays, so that a walk after it asks
# nothing, and its successor does the same for 3000 files as for none: system calls are counted.
. "${0%/*}/../lib.sh"
make_repo a
for d in $(seq 100); do
	mkdir -p "$R/a/many/$d"
	(cd "$R/a/many/$d" && seq 30 | xargs touch)
done
start_mount
# calls_of_successor: of one that takes over now, until it has looked at what it had to and has answered a program; but
# for those that tell how long it waited
calls_of_successor() {
	cs_before=$(server_pid)
	: >"$T/strace.err"
	strace -f -o "$T/trace" -p "$(guard_pid)" 2>>"$T/strace.err" &
	cs_strace=$!
	wait_until 'grep -q attached "$T/strace.err"'
	kill_server
	check in_repo a mkdir "$M/a/dir"
	check in_repo a rmdir "$M/a/dir"
	sleep 0.5 # as long as it took, and longer, to look at each file
	kill "$cs_strace"
	wait "$cs_strace" 2>/dev/null || :
	refuse test "$(server_pid)" = "$cs_before"
	grep -c -vE 'resumed>|(futex|nanosleep|sched_yield|poll|restart_syscall)\(' "$T/trace"
}
# walk: everything but the requests for which the kernel asks whenever a directory was read
walk() {
	in_repo a find . -path ./.git -prune -o -ls
}
in_repo a ls >/dev/null
few=$(calls_of_successor)
walk >/dev/null
walk >/dev/null
many=$(calls_of_successor)
[ "$many" -lt $((few + 1000)) ] || die "a successor did $few system calls with few nodes, $many with 3000 more"
# The kernel may drop what it has cached whenever it wants the memory: one of some times is enough.
for _ in 1 2 3 4 5; do
	walk >/dev/null
	kill_server
	check in_repo a mkdir "$M/a/dir"
	check in_repo a rmdir "$M/a/dir"
	requests=$(requests_of walk)
	asked=$(echo "$requests" | tr ' ' '\n' | awk -F= '{ n += $2 } END { print n + 0 }')
	[ "$asked" -gt 30 ] || break
done
[ "$asked" -le 30 ] || die "a walk after the server was killed: $requests"
check [ "$(jq .nodes "$M/.rrm/stats")" -gt 3000 ]
stop_mount
