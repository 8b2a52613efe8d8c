#!/bin/sh
# Who was stopped and goes on after somebody else had the turn changes nothing in its old turn: a mount whose explicit
# turn ended meanwhile is refused, and makes its change in a turn of its own; a gateway that does not answer is ended
# before its successor begins, and what it was doing is done once.
# needs: stop_points
. "${0%/*}/../lib.sh"
mkdir "$T/p"
export RRM_STOP_DIR="$T/p"
write_config '{"start_timeout_ms": 10000, "lock_timeout_ms": 3000}'
make_repo a
make_repo b
start_mount
check in_repo a sh -c 'echo first >../b/first'

# stopped_at POINT: the pid of who stopped there.
stopped_at() {
	wait_until "ls '$T/p/$1'.* >/dev/null 2>&1" 30
	sa=$(ls "$T/p/$1".*)
	sa=${sa##*.}
	wait_until "grep -q '^State:.T' /proc/$sa/status" 30
	echo "$sa"
}

: >"$T/p/epoch-written"
in_repo a rrm lock b -- sh -c 'echo $PPID >"$1"; echo late >../b/late' sh "$T/x/holder" &
job=$!
eq "$(stopped_at epoch-written)" "$(server_pid)" 'who stopped'
kill -9 "$(cat "$T/x/holder")"
wait_until "! kill -0 $(cat "$T/x/holder") 2>/dev/null" # its lock is free
echo newer | check rrm write b/newer
refuse test -e "$R/b/late"
kill -CONT "$(server_pid)"
wait_until "[ -s '$R/b/late' ]" 30
wait "$job" || true # rrm lock was killed; what it ran goes on
check rrm stop b >/dev/null
eq "$(audit_count b '.path == "late" and .result == "refused" and (.message | test("the turn was lost"))')" 1 \
	'records of the refusal'
newer=$(audit b 'select(.path == "newer") | .epoch' | head -n 1)
eq "$(audit_count b ".path == \"late\" and .result == \"ok\" and .epoch > $newer")" 1 'records of the change'

check in_repo a sh -c 'echo 12345 >../b/once'
: >"$T/p/half-applied"
in_repo a sh -c 'printf 67890abcde >>../b/once' &
job=$!
old=$(stopped_at half-applied)
wait "$job" || die 'the writer was not answered as done'
eq "$(cat "$R/b/once")" '12345
67890abcde' 'what was appended'
wait_until "! kill -0 $old 2>/dev/null || grep -q '^State:.Z' /proc/$old/status" 30
check rrm stop b >/dev/null
eq "$(cat "$R/b/once")" '12345
67890abcde' 'what was appended, later'
eq "$(audit b 'select(.path == "once" and .bytes == 10) | .result')" ok 'records of what was appended'
check rrm log b --verify >/dev/null
stop_mount
