#!/bin/sh
# A writer that is killed while it waits for the turn goes away at once, and its write is not applied
# later; readers do not wait meanwhile.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
write_config '{"lock_timeout_ms":100000}' # who is not gone at once is there until then
start_mount
check in_repo a sh -c 'echo before >../b/f'
check ls "$M/b/src" >/dev/null
rrm lock b -- sh -c ": >'$T/held'; while ! [ -e '$T/release' ]; do sleep 0.02; done" &
holder=$!
wait_until '[ -e "$T/held" ]'
# perl: the write is its own, so that the pid is the waiter's
setsid sh -c 'cd "$1" && echo $$ >"$2" && exec perl -e "mkdir q(../b/late) or die"' sh "$M/a" "$T/pid" &
waiter=$!
wait_until '[ -s "$T/pid" ] && rrm status b --json | jq -e "(if type == \"array\" then .[0] else . end) | .turn.waiters | length > 0" >/dev/null'
# Not the directory itself, nor a name in it that is new to the kernel: that holds the directory's lock
# as long as something is being made in it.
eq "$(cat "$M/b/f")" before 'a read while the turn is held'
check ls "$M/b/src" >/dev/null
refuse test -e "$R/b/late"
kill -9 "$(cat "$T/pid")"
wait_until '! kill -0 "$(cat "$T/pid")" 2>/dev/null'
wait "$waiter" || true
: >"$T/release"
check wait "$holder"
check in_repo a sh -c 'echo after >../b/f'
eq "$(cat "$R/b/f")" after 'a write after the release'
refuse test -e "$R/b/late"
check rrm stop b >/dev/null
eq "$(audit_count b '.path == "late" and .result == "ok"')" 0 'records of the killed writer'
stop_mount
