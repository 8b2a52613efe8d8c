#!/bin/sh
# An idle OpenCode is stopped; not while a terminal is attached, nor while a session is at work, in the mount's
# directory or in the real one.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
[ -x "${RRM_OPENCODE-}" ] || die "RRM_OPENCODE must name the opencode binary; it is '${RRM_OPENCODE-}'"
# A model that never answers.
cat >"$T/x/model.mjs" <<'END'
import { createServer } from "node:http"
import { writeFileSync } from "node:fs"
const server = createServer(() => writeFileSync(process.argv[2] + "/asked", ""))
server.listen(0, "127.0.0.1", () => writeFileSync(process.argv[2] + "/port", String(server.address().port)))
END
node "$T/x/model.mjs" "$T/x" &
model=$!
wait_until '[ -s "$T/x/port" ]'
mkdir -p "$XDG_CONFIG_HOME/opencode"
jq -n --arg u "http://127.0.0.1:$(cat "$T/x/port")/v1" '{provider: {slow: {npm: "@ai-sdk/openai-compatible",
	options: {baseURL: $u, apiKey: "x"}, models: {m: {name: "m"}}}}}' >"$XDG_CONFIG_HOME/opencode/opencode.json"
write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$RRM_OPENCODE\",\"start_timeout_ms\":90000,
	\"idle_stop_s\":5}"
make_repo a
reg=$(state_dir a)/registry.json
start_mount
url=$(rrm ensure a)
password=$(cat "$(state_dir a)/password")
api() {
	api_path=$1
	shift
	curl --noproxy '*' -sf -u "opencode:$password" -H 'content-type: application/json' "$@" "$url$api_path"
}

# A terminal.
tmux -L "rrm$$" new-session -d -x 120 -y 35 \
	"exec env OPENCODE_SERVER_PASSWORD=$password '$RRM_OPENCODE' attach '$url' --dir '$M/a'"
pane=$(tmux -L "rrm$$" display -p '#{pane_pid}')
wait_until 'rrm ensure a >/dev/null; tmux -L "rrm$$" capture-pane -p | grep -q "/a:main"' 60
eq "$(status_of rrm stop --if-idle=0 a)" 3 'the exit status with a terminal attached'
grep -Eq '[0-9]+ connections? to it (is|are) open' "$T/x/err" || die "it says: $(cat "$T/x/err")"
attached=$(date +%s)
wait_until '[ "$(date +%s)" -ge $((attached + 10)) ]'
[ -e "$reg" ] || die 'it was stopped while a terminal was attached'
kill "$pane"
wait_until '[ ! -e "$reg" ]' 60

# Sessions that nobody watches.
for directory in "$M/a" "$R/a"; do
	url=$(rrm ensure a)
	sid=$(api "/session?directory=$directory" -X POST -d '{}' | jq -r .id)
	api "/session/$sid/prompt_async?directory=$directory" -X POST \
		-d '{"model":{"providerID":"slow","modelID":"m"},"parts":[{"type":"text","text":"hi"}]}'
	wait_until '[ -e "$T/x/asked" ]'
	eq "$(status_of rrm stop --if-idle=0 a)" 3 'the exit status with a session at work'
	grep -q '1 session is at work' "$T/x/err" || die "it says: $(cat "$T/x/err")"
	began=$(date +%s)
	wait_until '[ "$(date +%s)" -ge $((began + 10)) ]'
	[ -e "$reg" ] || die "it was stopped while a session in $directory was at work"
	eq "$(status_of rrm restart --if-quiet a)" 3 'the exit status of restart --if-quiet'
	api "/session/$sid/abort?directory=$directory" -X POST >"$T/x/o"
	wait_until '[ ! -e "$reg" ]' 60
	rm "$T/x/asked"
done
kill "$model"
wait "$model" || :
grep -q 'event=supervise .*action=stop-idle' "$T/mount.log" || die 'the log does not say why it stopped'
stop_mount
