#!/bin/sh
# stop leaves no process behind: neither children of the bash tool in sessions of their own, nor an MCP server
# and what that started, polite or not; the same after kill -9 of the backend.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
[ -x "${RRM_OPENCODE-}" ] || die "RRM_OPENCODE must name the opencode binary; it is '${RRM_OPENCODE-}'"
mkdir -p "$XDG_CONFIG_HOME/opencode"
cat >"$T/x/mcp.mjs" <<'END'
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
process.on("SIGTERM", () => {})
spawn("setsid", ["-f", "sh", "-c", "trap '' TERM; while :; do sleep 86396; done"], { stdio: "ignore" })
const say = (id, result) => console.log(JSON.stringify({ jsonrpc: "2.0", id, result }))
createInterface({ input: process.stdin }).on("line", (line) => {
	const q = JSON.parse(line)
	if (q.method === "initialize")
		say(q.id, {
			protocolVersion: q.params.protocolVersion,
			capabilities: { tools: {} },
			serverInfo: { name: "forker", version: "1" },
		})
	else if (q.id !== undefined) say(q.id, q.method === "tools/list" ? { tools: [] } : {})
}).on("close", () => setInterval(() => {}, 1000))
END
jq -n --arg s "$T/x/mcp.mjs" '{mcp: {forker: {type: "local", command: ["node", $s], timeout: 60000}}}' \
	>"$XDG_CONFIG_HOME/opencode/opencode.json"
write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$RRM_OPENCODE\",\"start_timeout_ms\":90000}"
make_repo a
count() {
	pgrep -cxf "$1" || :
}
# begin: a backend with an MCP server, its escaped child, and one of the bash tool.
begin() {
	url=$(rrm ensure a)
	sid=$(api /session -d '{}' | jq -r .id)
	jq -n '{agent: "build", model: {providerID: "x", modelID: "y"},
		command: "setsid -f sh -c \"trap : TERM; while :; do sleep 86395; done\" >/dev/null 2>&1"}' >"$T/x/command"
	api "/session/$sid/shell" -d @"$T/x/command" >"$T/x/o"
	api "/mcp" -G >"$T/x/mcp"
	eq "$(jq -r .forker.status "$T/x/mcp")" connected 'the MCP server'
	wait_until '[ "$(count "sleep 86396")" = 1 ] && [ "$(count "sleep 86395")" = 1 ]'
}
api() {
	api_path=$1
	shift
	curl --noproxy '*' -sf -u "opencode:$(cat "$(state_dir a)/password")" \
		-H 'content-type: application/json' "$@" "$url$api_path"
}
nothing_left() {
	eq "$(count 'sleep 86396') $(count 'sleep 86395') $(count "node $T/x/mcp.mjs")" '0 0 0' "left $1"
	pids_of_case >"$T/x/marked"
	while read -r nl; do
		! kill -0 "$nl" 2>/dev/null || die "left $1: $(ps -o pid,args -p "$nl")"
	done <"$T/x/marked"
}
begin
check rrm stop a
nothing_left 'after stop'

begin
kill -9 "$(jq .pid "$(state_dir a)/registry.json")"
check rrm stop a
nothing_left 'after kill -9 and stop'

begin
check rrm restart a >/dev/null
eq "$(count 'sleep 86395')" 0 'children of the bash tool after restart'
check rrm stop a
nothing_left 'at the end'
