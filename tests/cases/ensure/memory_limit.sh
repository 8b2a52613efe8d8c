#!/bin/sh
# memory.jsonl is sampled by the mount every memory_every_s; a backend above max_memory_mib is restarted on
# its port, once, with the reason in rrm status.
. "${0%/*}/../lib.sh"
write_config '{"backend":"embedded","memory_every_s":1}'
make_repo a
start_mount
url=$(rrm ensure a)
samples=$(state_dir a)/memory.jsonl
lines() {
	if [ -e "$samples" ]; then
		wc -l <"$samples"
	else
		echo 0
	fi
}
wait_until '[ "$(lines)" -ge 3 ]' 60
eq "$(jq -r '.pid' "$samples" | sort -u)" "$(jq .pid "$(state_dir a)/registry.json")" 'the pid in the samples'
jq -es 'all(.processes >= 1 and .rss_kib > 0)' "$samples" >/dev/null || die "samples: $(cat "$samples")"
stop_mount

# One MiB is less than any has.
write_config '{"backend":"embedded","memory_every_s":1,"max_memory_mib":1}'
old=$(jq .pid "$(state_dir a)/registry.json")
start_mount
wait_until 'rrm status --json a | jq -e ".[0] | .state == \"ready\" and .pid != $old" >/dev/null' 60
rrm status --json a | jq -r '.[0].last_restart.why' >"$T/x/why"
grep -q '^its processes used [0-9]* MiB, max_memory_mib is 1$' "$T/x/why" || die "it says: $(cat "$T/x/why")"
eq "$(rrm ensure a)" "$url" 'the URL'
new=$(jq .pid "$(state_dir a)/registry.json")
had=$(lines)
wait_until '[ "$(lines)" -ge $((had + 3)) ]' 60
eq "$(jq .pid "$(state_dir a)/registry.json")" "$new" 'the pid: not restarted again and again'
stop_mount
