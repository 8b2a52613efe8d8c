#!/bin/sh
# Twelve repos whose backends are started at once, on two processors: all are ready within start_timeout_ms as
# it comes, and are stopped without a process left behind. RRM_OPENCODE names the binary.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
[ -x "${RRM_OPENCODE-}" ] || die "RRM_OPENCODE must name the opencode binary; it is '${RRM_OPENCODE-}'"
write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$RRM_OPENCODE\"}"
names='a b c d e f g h i j k l'
for n in $names; do
	make_repo "$n"
done
begun=$(date +%s%N)
jobs=
for n in $names; do
	taskset -c "${CPUS-0,1}" rrm ensure "$n" >"$T/x/url.$n" 2>"$T/x/err.$n" &
	jobs="$jobs $!"
done
for j in $jobs; do
	wait "$j" || die "one did not start: $(cat "$T"/x/err.*)"
done
say "twelve at once: $((($(date +%s%N) - begun) / 1000000)) ms"
eq "$(cat "$T"/x/url.* | sort -u | wc -l)" 12 'URLs'
eq "$(rrm status --json | jq -r '[.[] | select(.state == "ready")] | length')" 12 'backends that are ready'
check rrm stop --all
pids_of_case >"$T/x/marked"
while read -r pid; do
	! kill -0 "$pid" 2>/dev/null || die "left running: $(ps -o pid,args -p "$pid")"
done <"$T/x/marked"
