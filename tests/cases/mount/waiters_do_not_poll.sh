#!/bin/sh
# Who waits for the turn of another process sleeps in the kernel, in the line for the lock: nothing in rrm-mount asks for
# it again and again, and it has it when it is given back. What looks meanwhile for other things does so rarely.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
server=$(server_pid)
check in_repo a mkdir ../b/warm
rrm lock b -- sh -c ": >'$T/held'; while ! [ -e '$T/go' ]; do sleep 0.01; done" &
holder=$!
wait_until '[ -e "$T/held" ]'
in_repo a mkdir ../b/waited &
waiter=$!
wait_until "jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1"
# The thread that is in fcntl(F_OFD_SETLKW), 38.
sleeper() {
	grep -lE '^[0-9]+ 0x[0-9a-f]+ 0x26 ' /proc/"$server"/task/*/syscall 2>/dev/null | cut -d/ -f5
}
wait_until '[ -n "$(sleeper)" ]'
tid=$(sleeper)
eq "$(echo "$tid" | wc -l)" 1 'threads that wait for the lock'
switches() {
	cat "$@" | awk '/ctxt_switches/ { s += $2 } END { print s }'
}
of_sleeper=$(switches "/proc/$server/task/$tid/status")
of_all=$(switches "/proc/$server"/task/*/status)
begun=$(date +%s%3N)
sleep 2
eq "$(switches "/proc/$server/task/$tid/status")" "$of_sleeper" 'times that it woke in two seconds'
of_all=$(($(switches "/proc/$server"/task/*/status) - of_all))
of_all=$((of_all * 2000 / ($(date +%s%3N) - begun))) # the sleep of a busy machine is longer
echo "all threads of rrm-mount woke $of_all times in two seconds"
[ "$of_all" -le 400 ] || die 'rrm-mount does not sleep'
: >"$T/go"
check wait "$holder" "$waiter"
check test -d "$R/b/waited"
stop_mount
