#!/bin/sh
# A backend that is killed is back on its port without anybody asking, under a mount; two mounts of the base
# do not fight over it. After three deaths within a minute it is failed, with the end of its output, until
# the next ensure.
. "${0%/*}/../lib.sh"
write_config '{"backend":"embedded"}'
make_repo a
reg=$(state_dir a)/registry.json
pid_of_a() {
	jq -e 'select(.state == "ready") | .pid' "$reg" 2>/dev/null
}
lives() {
	[ -n "$1" ] && kill -0 "$1" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$1/status"
}
# killed_again PID: kill -9, and another one comes to be.
killed_again() {
	kill -9 "$1"
	wait_until "pid=\$(pid_of_a) && [ \"\$pid\" != $1 ] && lives \"\$pid\""
}

start_mount
mkdir "$T/m2"
rrm-mount -f "$T/m2" </dev/null >>"$T/m2.log" 2>&1 &
second=$!
wait_until 'mounted_at "$T/m2"'

url=$(rrm ensure a)
starts() {
	grep -c event=serving "$(state_dir a)/backend.log"
}
killed_again "$(pid_of_a)"
eq "$(rrm ensure a)" "$url" 'the URL after the first death'
eq "$(starts)" 2 'starts after the first death'
eq "$(jq '.deaths_ms | length' "$reg")" 1 'deaths that were noted'
rrm status --json a | jq -re '.[0].last_restart.why' | grep -q 'ended by itself' ||
	die "rrm status does not say that it was restarted: $(rrm status --json a)"

killed_again "$(pid_of_a)"
eq "$(starts)" 3 'starts after the second death'
# more than the sentence holds: its end is what counts
for i in 1 2 3; do
	printf '%0200d\n' "$i" >>"$(state_dir a)/backend.log"
done
echo 'the disk is on fire' >>"$(state_dir a)/backend.log"
kill -9 "$(pid_of_a)"
wait_until '[ "$(jq -r .state "$reg")" = failed ]'
rrm status --json a | jq -re '.[0].last_error' >"$T/x/why"
grep -q 'failed 3 times within a minute' "$T/x/why" || die "it says: $(cat "$T/x/why")"
grep -q 'it printed: .*the disk is on fire$' "$T/x/why" || die "no end of the output: $(cat "$T/x/why")"
fails_with 'failed 3 times within a minute' rrm restart --if-dead a
eq "$(starts)" 3 'starts after the third death'

# The next write tries again.
(cd / && echo hi >"$M/a/new")
eq "$(cat "$R/a/new")" hi 'what was written'
lives "$(pid_of_a)" || die 'the write started none'

# Stopped is stopped: nobody restarts it.
check rrm stop a
eq "$(rrm restart --if-dead a)" '' 'what --if-dead says of one that was stopped'
eq "$(starts)" 4 'starts after the stop'
[ ! -e "$reg" ] || die 'it is running after stop'
check rrm-mount -u "$T/m2"
wait "$second" || die "the second mount failed: $(cat "$T/m2.log")"
stop_mount
for p in $(pgrep -x rrm-supervise); do
	! grep -qzx "RRM_TEST_CASE=$RRM_TEST_CASE" "/proc/$p/environ" || die 'a supervisor is left'
done
