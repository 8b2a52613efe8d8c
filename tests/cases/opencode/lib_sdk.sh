# For the cases of the shim and the SDK: sourced after lib.sh. RRM_SDK is a directory whose node_modules has
# @opencode-ai/sdk; programs below $T find it.
# shellcheck shell=sh
[ -x "${RRM_OPENCODE-}" ] ||
	die "RRM_OPENCODE must name the opencode binary of the pinned npm package; it is '${RRM_OPENCODE-}'"
[ -d "${RRM_SDK-}/node_modules/@opencode-ai/sdk" ] ||
	die "RRM_SDK must name a directory with @opencode-ai/sdk in node_modules; it is '${RRM_SDK-}'"
ln -s "$RRM_SDK/node_modules" "$T/node_modules"
mkdir -p "$T/real" "$T/bin"
[ -e "$T/real/opencode" ] || ln -s "$RRM_OPENCODE" "$T/real/opencode"
unset OPENCODE_CONFIG_CONTENT OPENCODE_SERVER_PASSWORD OPENCODE_SERVER_USERNAME
export OPENCODE_DISABLE_AUTOUPDATE=1 no_proxy=127.0.0.1,localhost NO_PROXY=127.0.0.1,localhost
PATH=$T/real:$PATH
write_config '{"start_timeout_ms": 120000, "lock_timeout_ms": 120000}'
check rrm shim install "$T/bin" >/dev/null 2>&1
PATH=$T/bin:$PATH

command -v backend_pid >/dev/null || backend_pid() {
	jq .pid "$(state_dir "$1")/registry.json"
}

# shim_start NAME [ARGS]: `opencode serve ARGS` in NAME in the background: its pid in $shim_pid, its URL in $shim_url.
shim_start() {
	ss_name=$1
	shift
	: >"$T/x/serve"
	(cd "$R/$ss_name" && exec opencode serve "$@") >"$T/x/serve" 2>"$T/x/serve.err" &
	shim_pid=$!
	wait_until 'grep -q "^opencode server listening" "$T/x/serve" || ! kill -0 $shim_pid 2>/dev/null' 60
	shim_url=$(sed -n 's/^opencode server listening on //p' "$T/x/serve")
	[ -n "$shim_url" ] || die "no line from opencode serve: $(cat "$T/x/serve.err")"
}

shim_end() {
	kill "$shim_pid"
	wait_until "! kill -0 $shim_pid 2>/dev/null"
	wait "$shim_pid" 2>/dev/null || true
}

# get URL [CURL ARGS]
get() {
	curl -sS --max-time 120 "$@"
}
