#!/bin/sh
# No first request waits for npm: not with the state base in ~/.opencode, and plugins of the user's own,
# and a registry that accepts and never answers. A repository's own .opencode is not rrm's to fill: there
# OpenCode asks the registry, and gives up in time for the backend to be ready.
# needs: opencode
# timeout: 200
. "${0%/*}/lib_alone.sh"
unset RRM_HOME
S=$HOME/.opencode
mkdir -p "$XDG_CONFIG_HOME/opencode/plugin"
printf '%s\n' 'export const P = async () => { process.stderr.write("the plugin of ann\n"); return {} }' \
	>"$XDG_CONFIG_HOME/opencode/plugin/p.js"

cat >"$T/registry.js" <<'E2'
const server = require("net").createServer((socket) => {
	console.log("asked")
	socket.on("error", () => {})
})
server.listen(0, "127.0.0.1", () => require("fs").writeFileSync(process.argv[2], `${server.address().port}`))
E2
node "$T/registry.js" "$T/x/port" >"$T/x/asked" &
registry=$!
wait_until '[ -s "$T/x/port" ]'
npm_config_registry=http://127.0.0.1:$(cat "$T/x/port")/
export npm_config_registry OPENCODE_DISABLE_MODELS_FETCH=1
write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$RRM_OPENCODE\",\"start_timeout_ms\":90000}"
git_repo a
check rrm add --name a "$R/a"
git_repo b
mkdir -p "$R/b/.opencode/agent"
printf -- '---\ndescription: ours\n---\nbe brief\n' >"$R/b/.opencode/agent/ours.md"
git -C "$R/b" add -A
git -C "$R/b" commit -qm 'an agent of the repository'
check rrm add --name b "$R/b"

check rrm ensure a
eq "$(cat "$T/x/asked")" '' 'connections to the registry'
grep -qx 'the plugin of ann' "$(state_dir a)/backend.log" || die "the user's plugin was not loaded"
[ -d "$HOME/.opencode/repos" ] || die 'the state base is not ~/.opencode'

check rrm ensure b
grep -q asked "$T/x/asked" || die 'the check does not see who asks the registry'
[ ! -e "$R/b/.opencode/package.json" ] || die 'a package.json was made in the repository'
eq "$(git -C "$R/b" status --porcelain)" '' 'what git sees in the repository'
check rrm stop --all >"$T/x/out"
kill "$registry"
wait "$registry" || :
