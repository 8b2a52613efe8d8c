# Real agents without a provider: the real OpenCode as backend of repositories, its model the script that a
# case sends as message. Sourced after lib.sh.
#
#	start_agents a b            the repositories, the mount, the model; a backend for each
#	sid=$(session a)
#	ask a "$sid" "$(call write '{"filePath":"/x","content":"y"}')"...
#	tool_states a "$sid"        "write completed" a line for each tool call, in order
# shellcheck shell=sh
# shellcheck disable=SC2034

[ -x "${RRM_OPENCODE-}" ] ||
	die "RRM_OPENCODE must name the opencode binary of the pinned npm package; it is '${RRM_OPENCODE-}'"

# start_model: its port is in $T/x/port. It ends when $model_stdin is closed, at the latest with the case.
start_model() {
	mkfifo "$T/x/model.stdin"
	node "$case_dir/model.mjs" "$T/x/port" <"$T/x/model.stdin" >>"$T/x/model.log" 2>&1 &
	exec 9>"$T/x/model.stdin"
	wait_until '[ -s "$T/x/port" ]'
}

# agents_config [JQ FILTER]: the user's opencode.json and rrm's config; the filter changes the former.
agents_config() {
	mkdir -p "$XDG_CONFIG_HOME/opencode"
	jq -n --arg url "http://127.0.0.1:$(cat "$T/x/port")/v1" '{
		"$schema": "https://opencode.ai/config.json",
		model: "scripted/edits", small_model: "scripted/edits", share: "disabled",
		provider: {scripted: {npm: "@ai-sdk/openai-compatible", name: "scripted",
			options: {baseURL: $url, apiKey: "none"},
			models: {edits: {name: "edits"}, "gpt-5-patches": {name: "patches"}}}}
		} | '"${1-.}" >"$XDG_CONFIG_HOME/opencode/opencode.json"
	write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$RRM_OPENCODE\",\"start_timeout_ms\":120000,\"lock_timeout_ms\":${lock_timeout_ms-30000},\"policy\":{${policy-}}}"
}

# start_agents NAME...
start_agents() {
	start_model
	agents_config "${agents_filter-.}"
	for sa; do
		make_repo "$sa"
	done
	start_mount
	sa_jobs=
	for sa; do
		rrm ensure --json "$sa" >"$T/x/ensure.$sa" &
		sa_jobs="$sa_jobs $!"
	done
	for sa in $sa_jobs; do
		wait "$sa" || die 'a backend did not start'
	done
}

# api NAME PATH [CURL ARGS]
api() {
	api_name=$1 api_path=$2
	shift 2
	curl --noproxy '*' -sS --fail-with-body -u "opencode:$(cat "$(state_dir "$api_name")/password")" \
		-H 'content-type: application/json' "$@" "$(jq -r .url "$(state_dir "$api_name")/registry.json")$api_path"
}

# session NAME [DIRECTORY]: a new session in NAME's place in the mount; prints its id.
session() {
	api "$1" "/session?directory=${2-$M/$1}" -d '{}' | jq -re .id
}

# call TOOL JSON [JQ FILTER]: one call for ask, the filter changes {tool, args}.
call() {
	jq -nc --arg tool "$1" --argjson args "$2" '{tool: $tool, args: $args} | '"${3-.}"
}

# bash_call COMMAND
bash_call() {
	jq -nc --arg c "$1" '{tool: "bash", args: {command: $c, description: "a test"}}'
}

# ask NAME SESSION STEP...: the model makes these steps in turn; returns when the session is idle again.
# model=gpt-5-patches: it patches instead of editing. directory: as in session().
ask() {
	ask_name=$1 ask_sid=$2
	shift 2
	printf '%s\n' "$@" >"$T/x/ask.$ask_sid"
	ask_steps "$ask_name" "$ask_sid" "$T/x/ask.$ask_sid"
}

# ask_steps NAME SESSION FILE: the same, a step a line.
ask_steps() {
	jq -sc --arg model "${model-edits}" '{model: {providerID: "scripted", modelID: $model},
		parts: [{type: "text", text: ({steps: ., say: "done"} | tojson)}]}' "$3" |
		api "$1" "/session/$2/message?directory=${directory-$M/$1}" --max-time "${ask_max-120}" -d @- >"$T/x/answer.$2"
}

# tools NAME SESSION [JQ FILTER]: the tool parts of all messages, each through the filter.
tools() {
	api "$1" "/session/$2/message?directory=${directory-$M/$1}" |
		jq -rc '.[].parts[] | select(.type == "tool") | '"${3-.}"
}

# tool_states NAME SESSION
tool_states() {
	tools "$1" "$2" '"\(.tool) \(.state.status)"'
}

# last_error NAME SESSION: what the model was told by the last tool call that failed.
last_error() {
	tools "$1" "$2" 'select(.state.status == "error") | .state.error' | tail -n 1
}
