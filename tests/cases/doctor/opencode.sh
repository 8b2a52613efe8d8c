#!/bin/sh
# rrm doctor beside real OpenCodes: one that an SDK program started and one by hand share all directories, the database
# and a port, one of them open to the network; sessions of two branches and two repositories are in the database. All
# of it is found, with pid and path, and the backend that rrm started is not.
# needs: opencode
# timeout: 300
# A /proc and a network of its own: port 4096 is free there, and nothing but this case is seen.
[ -n "${RRM_OWN_PIDS-}" ] || RRM_OWN_PIDS=yes exec unshare --pid --fork --mount-proc --kill-child --net -m --propagation private sh "$0" "$@"
. "${0%/*}/../lib.sh"
ip link set lo up
ip address add 10.9.8.7/32 dev lo
[ -x "${RRM_OPENCODE-}" ] || die "RRM_OPENCODE must name the opencode binary; it is '${RRM_OPENCODE-}'"
sdk=${RRM_SDK-$(dirname "$RRM_OPENCODE")/../../../sdk}
ln -s "$sdk/node_modules" "$T/node_modules"
mkdir "$T/real"
ln -s "$RRM_OPENCODE" "$T/real/opencode"
export OPENCODE_DISABLE_AUTOUPDATE=1 npm_config_fetch_retries=0 npm_config_fetch_timeout=3000
write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$RRM_OPENCODE\",\"start_timeout_ms\":120000}"
for n in one two mine; do
	make_repo "$n"
done
git -C "$R/one" worktree add -q -b feature "$T/one-feature"

# found KIND [JQ CONDITION]: the one finding of that kind.
found() {
	jq -ce --arg k "$1" '.findings[] | select(.kind == $k) | select('"${2-true}"')' "$T/x/doctor" ||
		die "no $1 with ${2-true} in $(jq -c '[.findings[] | {kind, what, where}]' "$T/x/doctor")"
}

# What the SDK does, unchanged: createOpencode() spawns `opencode serve` from PATH.
cat >"$T/sdk.mjs" <<'END'
import { createOpencode } from "@opencode-ai/sdk"
const { server } = await createOpencode({ timeout: 100000 })
console.log(server.url)
process.stdin.on("end", () => { server.close(); process.exit(0) }).resume()
END
mkfifo "$T/x/stdin"
(cd "$R/one" && PATH=$T/real:$PATH exec node "$T/sdk.mjs") <"$T/x/stdin" >"$T/x/sdk" 2>&1 &
node=$!
exec 8>"$T/x/stdin"
wait_until '[ -s "$T/x/sdk" ]' 100
(cd "$R/two" && exec "$RRM_OPENCODE" serve --hostname 10.9.8.7 --port 4096) </dev/null 8>&- >"$T/x/hand" 2>&1 &
hand=$!
check rrm ensure --json mine >"$T/x/mine"
wait_until 'grep -q listening "$T/x/hand"' 100
sdk_pid=$(pgrep -P "$node" -x opencode)

new_session() {
	curl --noproxy '*' -sS --fail-with-body --max-time 100 -H 'content-type: application/json' "http://$1/session?directory=$2" -d '{}' |
		jq -re .id >/dev/null
}
check new_session 127.0.0.1:4096 "$R/one"
check new_session 127.0.0.1:4096 "$T/one-feature"
check new_session 10.9.8.7:4096 "$R/two"
prlimit --pid "$hand" --nofile=1024:1024
for n in one two; do
	printf '{ // of %s\n"server": {"port": 5123,},}\n' "$n" >"$R/$n/opencode.jsonc"
done

db=$XDG_DATA_HOME/opencode/opencode.db
sum() {
	sha256sum "$db" "$db-wal"
}
# Stopped for that: what they have still to write is not doctor's.
kill -STOP "$hand" "$sdk_pid"
wait_until "grep -q '^State:.T' /proc/$hand/status && grep -q '^State:.T' /proc/$sdk_pid/status"
sum >"$T/x/before"
eq "$(status_of rrm doctor --json)" 3 'exit status'
cp "$T/x/out" "$T/x/doctor"
eq "$(sum)" "$(cat "$T/x/before")" 'the database before and after'
kill -CONT "$hand" "$sdk_pid"

both="[.where.pids[].pid] | sort == ([$sdk_pid, $hand] | sort)"
for v in DATA CONFIG CACHE STATE; do
	found shared_directory "(.what | contains(\"XDG_${v}_HOME\")) and ($both)" >/dev/null
done
found shared_directory ".where.paths == [\"$XDG_DATA_HOME\"]" >/dev/null
found shared_database "($both) and .where.paths == [\"$db\"]" >/dev/null
found default_port ".where.pids[0].pid == $sdk_pid" >/dev/null
found fixed_port ".where.pids[0].pid == $hand" >/dev/null
found port_collision "(.what | contains(\"4096\")) and ($both)" >/dev/null
found port_collision "(.what | contains(\"5123\")) and (.where.paths | length == 2)" >/dev/null
found outside_runtime ".where.pids[0].pid == $sdk_pid and (.what | contains(\"(node)\")) and (.where.pids[0].command | contains(\"serve\"))" >/dev/null
found outside_runtime ".where.pids[0].pid == $hand and .where.pids[0].cwd == \"$R/two\"" >/dev/null
found open_listener ".where.pids[0].pid == $hand and (.what | contains(\"10.9.8.7 port 4096\"))" >/dev/null
found backend_nofile "[.where.pids[].pid] | contains([$hand])" >/dev/null
found session_branches ".where.paths[0] == \"$db\" and (.where.paths[1:] | sort) ==
	([\"$R/one on main: 1 session\", \"$T/one-feature on feature: 1 session\", \"$R/two on main: 1 session\"] | sort)" >/dev/null
mine=$(jq .pid "$T/x/mine")
jq -e --argjson p "$mine" '[.findings[] | select(.kind != "backend_nofile") | .where.pids[].pid] | index($p) == null' "$T/x/doctor" >/dev/null ||
	die "rrm's own backend is found: $(cat "$T/x/doctor")"

# A branch that was checked out in between, by the reflog, whose times are whole seconds.
asked=$(date +%s)
wait_until '[ "$(date +%s)" -gt "$asked" ]'
git -C "$R/two" checkout -q -b later
asked=$(date +%s)
wait_until '[ "$(date +%s)" -gt "$asked" ]'
check new_session 10.9.8.7:4096 "$R/two"
rrm doctor --json >"$T/x/doctor" || :
found session_branches ".where.paths | contains([\"$R/two on main: 1 session\", \"$R/two on later: 1 session\"])" >/dev/null

# With them gone, what they left behind is still told, the rest is not.
exec 8>&-
wait "$node" || :
kill "$hand"
wait_until "! kill -0 $hand 2>/dev/null && ! kill -0 $sdk_pid 2>/dev/null"
rrm doctor --json >"$T/x/doctor" || :
found session_branches >/dev/null
eq "$(jq -c '[.findings[] | select(.level == "problem") | .kind] - ["nofile", "backend_nofile", "inotify_watches", "session_branches"] | unique' "$T/x/doctor")" \
	'["port_collision"]' 'problems that are left'
