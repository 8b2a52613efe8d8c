#!/bin/sh
# A backend that does not come up is a sentence within the bound, with the end of its own output; the
# registry says failed, nothing is left running, and the next ensure tries again.
. "${0%/*}/../lib.sh"
make_repo a
fake() {
	printf '#!/bin/sh\n%s\n' "$1" >"$T/opencode"
	chmod +x "$T/opencode"
	write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$T/opencode\",
		\"start_timeout_ms\":3000}"
}
reg=$(state_dir a)/registry.json
bounded_fails_with() {
	bf_end=$(($(date +%s) + 10))
	fails_with "$@"
	[ "$(date +%s)" -lt "$bf_end" ] || die 'it took more than 10 s'
	eq "$(wc -l <"$T/x/err")" 1 'lines on stderr'
}

write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$T/opencode\"}"
bounded_fails_with 'is not found on PATH' rrm ensure a
eq "$(jq -r .state "$reg")" failed 'the state in the registry'

fake 'exit 0'
chmod -x "$T/opencode"
bounded_fails_with 'may not be executed' rrm ensure a

fake 'echo "loading"; echo "Error: the licence has run out" >&2; exit 3'
bounded_fails_with 'it printed: loading | Error: the licence has run out' rrm ensure a
jq -r .error "$reg" | grep -qF 'the licence has run out' || die 'the registry does not say why'
grep -q '^rrm: starting backend for a: ' "$T/x/err" || die "not our sentence: $(cat "$T/x/err")"

fake 'exec sleep 1000'
eq "$(status_of rrm ensure a)" 124 'the exit status of a timeout'
grep -q 'does not listen; it printed nothing' "$T/x/err" || die "said: $(cat "$T/x/err")"
eq "$(grep -lzx "RRM_BACKEND_OF=$(state_dir a)" /proc/[0-9]*/environ 2>/dev/null)" '' 'what is left running'

# Children in sessions of their own do not escape, nor does one that ignores SIGTERM.
fake 'setsid sh -c "trap \"\" TERM; while :; do sleep 1000; done" & exec sleep 1000'
eq "$(status_of rrm ensure a)" 124 'the exit status of a timeout with children'
eq "$(grep -lzx "RRM_BACKEND_OF=$(state_dir a)" /proc/[0-9]*/environ 2>/dev/null)" '' 'what is left running'

write_config '{"backend":"embedded"}'
check rrm ensure a >/dev/null
eq "$(jq -r .state "$reg")" ready 'the state afterwards'
check rrm stop a

# A state base too deep for a unix socket.
deep=$T/$(printf 'd%.0s' $(seq 90))
export RRM_HOME="$deep"
check rrm add "$R/a" >/dev/null
bounded_fails_with 'set RRM_HOME to a shorter path' rrm ensure a
