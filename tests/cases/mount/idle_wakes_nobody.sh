#!/bin/sh
# timeout: 120
# not: tsan (it has a thread that wakes by itself)
# When nothing is asked of them, the server, the processes beside it and a backend sleep: no timer wakes them.
. "${0%/*}/../lib.sh"
# a sample of a backend's memory is a line in a file that somebody wants
write_config '{"backend":"embedded","memory_every_s":0}'
make_repo a
make_repo b
start_mount
check in_repo a sh -c 'echo x >f && echo y >../b/f && git status >/dev/null'

# switches: `TID COUNT` of each thread of ours: how often it slept and was woken
switches() {
	for sw in $(pids_of_case); do
		grep -qx -e rrm-mount -e rrm-touch -e rrm-supervise -e rrm-backend "/proc/$sw/comm" || continue
		for sw_task in /proc/"$sw"/task/*/status; do
			awk -v t="$sw_task" '/^voluntary/ { print t, $2 }' "$sw_task" 2>/dev/null || true
		done
	done
}
# woken SECONDS: how many times in all; a thread that is new was woken at least once
woken() {
	switches >"$T/w0"
	sleep "$1"
	switches >"$T/w1"
	awk 'NR == FNR { n[$1] = $2; next } { sum += $2 - n[$1] } END { print sum + 0 }' "$T/w0" "$T/w1"
}
# who started the backend may still be ending
ours() {
	for p in $(pids_of_case); do
		cat "/proc/$p/comm" 2>/dev/null || true
	done | grep -c -e rrm-mount -e rrm-touch -e rrm-supervise -e rrm-backend
}
wait_until '[ "$(ours)" = 5 ]'
# What was cached for what was just done ends within seconds (turns, write descriptors, threads with nothing to do).
i=0
until [ "$(woken 4)" -le 4 ]; do
	i=$((i + 1))
	[ $i -lt 10 ] || die "woken in the last 4 s: $(diff "$T/w0" "$T/w1")"
done
got=$(woken 10)
[ "$got" -le 6 ] || die "woken $got times in 10 idle seconds: $(diff "$T/w0" "$T/w1")"
stop_mount
