#!/bin/sh
# An unmodified program that uses createOpencode() of @opencode-ai/sdk gets the one backend of its repository,
# twelve of them at once inside the SDK's five seconds although all backends must be started first; its close()
# leaves the backend running; its config is applied, or refused with a sentence.
# needs: opencode
# timeout: 600
. "${0%/*}/../lib.sh"
. "$case_dir/lib_sdk.sh"
cp "$case_dir/sdk.mjs" "$T/"

# Twelve at once, all cold.
names='r01 r02 r03 r04 r05 r06 r07 r08 r09 r10 r11 r12'
for n in $names; do
	make_repo "$n"
done
jobs=
for n in $names; do
	(cd "$R/$n" && exec node "$T/sdk.mjs") >"$T/x/sdk.$n" 2>&1 &
	jobs="$jobs $!"
done
for job in $jobs; do
	wait "$job" || { cat "$T/x"/sdk.r* >&2; die 'an SDK program failed'; }
done
for n in $names; do
	eq "$(jq -c '[.listed, .event, .directory]' "$T/x/sdk.$n")" "[true,true,\"$R/$n\"]" "what the program in $n saw"
	eq "$(rrm status --json "$n" | jq -r '.[0].state')" ready "the backend of $n after close()"
done
say "twelve cold: the line after at most $(jq -s 'map(.line_ms) | max' "$T/x"/sdk.r*) ms, all done after $(
	jq -s 'map(.ready_ms) | max' "$T/x"/sdk.r*) ms"
[ "$(jq -s 'map(.line_ms) | max' "$T/x"/sdk.r*)" -lt 5000 ] || die 'a line came too late'
eq "$(rrm status --json | jq '[.[].pid] | unique | length')" 12 'backends'

# Once more: the same backend.
pid=$(backend_pid r01)
check node -e '' # so that the time below is not that of reading node from the disk
(cd "$R/r01/src" && check node "$T/sdk.mjs" >"$T/x/again")
eq "$(jq -c '[.listed, .event]' "$T/x/again")" '[true,true]' 'the second program'
eq "$(backend_pid r01)" "$pid" 'the backend of the second program'
say "warm: the line after $(jq .line_ms "$T/x/again") ms"

# Two programs in one repository at once share it.
(cd "$R/r01" && check node "$T/sdk.mjs" >"$T/x/one") &
job=$!
(cd "$R/r01" && check node "$T/sdk.mjs" >"$T/x/two")
check wait "$job"
eq "$(backend_pid r01)" "$pid" 'the backend of two programs at once'

# A config: refused by a backend that runs otherwise, applied by one that is started for it, shared by programs
# with the same, and kept over a crash; gone when the backend is stopped.
config='{"username":"from the program"}'
cd "$R/r02"
refuse node "$T/sdk.mjs" "$config" >"$T/x/refused" 2>&1
grep -q 'the backend of r02 runs with another configuration' "$T/x/refused" ||
	die "the refusal of a config: $(cat "$T/x/refused")"
check rrm stop r02
check node "$T/sdk.mjs" "$config" >"$T/x/config"
eq "$(jq -r .username "$T/x/config")" 'from the program' 'the config that was asked for'
pid=$(backend_pid r02)
check node "$T/sdk.mjs" "$config" >"$T/x/config"
eq "$(backend_pid r02)" "$pid" 'the backend of a second program with this config'
refuse node "$T/sdk.mjs" '{"username":"from another"}' >"$T/x/refused" 2>&1
kill -9 "$pid"
check node "$T/sdk.mjs" "$config" >"$T/x/config"
eq "$(jq -r .username "$T/x/config")" 'from the program' 'the config after a crash'
check rrm stop r02
check node "$T/sdk.mjs" >"$T/x/config"
refuse jq -e '.username == "from the program"' "$T/x/config" >/dev/null
check rrm stop r02
OPENCODE_CONFIG_CONTENT='{"a":' status_of opencode serve >"$T/x/status"
eq "$(cat "$T/x/status")" 1 'status for a damaged config'
grep -q '^rrm: OPENCODE_CONFIG_CONTENT: ' "$T/x/err" || die "damaged config: $(cat "$T/x/err")"
# One that OpenCode does not take is told, and is not kept for the next start.
OPENCODE_CONFIG_CONTENT='{"username": 5}' shim_start r02
eq "$(curl -s --max-time 150 -o "$T/x/o" -w '%{http_code}' "$shim_url/config")" 503 'the answer with a bad config'
jq -e '.data.message | startswith("starting backend for r02: ")' "$T/x/o" >/dev/null || die "it said: $(cat "$T/x/o")"
shim_end
check rrm ensure r02 >/dev/null
