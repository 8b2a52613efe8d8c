#!/bin/sh
# What goes wrong around the real OpenCode is a sentence within start_timeout_ms, also in status, or does
# no harm: plugins of the user's that throw or hang, ours damaged, a full disk, a port lost at the start,
# a configuration that is no JSON, a repository that is moved away.
# needs: opencode
# timeout: 400
. "${0%/*}/lib_alone.sh"
export OPENCODE_DISABLE_MODELS_FETCH=1
# config COMMAND TIMEOUT_MS
config() {
	write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$1\",\"start_timeout_ms\":$2}"
}
oc=$XDG_CONFIG_HOME/opencode
mkdir -p "$oc/plugin"
make_repo a
reg=$(state_dir a)/registry.json
# bad LIMIT_S TEXT: ensure fails in that time with one line that says TEXT; status says it too; nothing is left.
bad() {
	bad_end=$(($(date +%s) + $1))
	fails_with "$2" rrm ensure a
	[ "$(date +%s)" -le "$bad_end" ] || die "it took more than $1 s"
	eq "$(grep -c '^rrm: starting backend for a: ' "$T/x/err")" 1 'sentences on stderr'
	eq "$(jq -r .state "$reg")" failed 'the state'
	rrm status --json a | jq -r '.[0].last_error' | grep -qF -e "${2#starting backend for a: }" || die "status does not say it: $(rrm status a)"
	eq "$(grep -lzx "RRM_BACKEND_OF=$(state_dir a)" /proc/[0-9]*/environ 2>/dev/null)" '' 'what is left running'
}

# Plugins that throw are OpenCode's to report; ours is loaded all the same.
config "$RRM_OPENCODE" 90000
echo 'throw new Error("broken while it is loaded")' >"$oc/plugin/x.js"
echo 'export const Y = async () => { throw new Error("broken when it is called") }' >"$oc/plugin/y.js"
echo 'this is no JavaScript' >"$oc/plugin/z.js"
check rrm ensure a >/dev/null
check rrm stop a
rm "$oc/plugin"/*

# Ours, when it cannot be loaded.
mkdir "$T/data"
echo 'this is no JavaScript' >"$T/data/rrm.js"
RRM_DATADIR=$T/data bad 100 'its gateway (gateway.sock) does not listen; the plugin rrm.js was not loaded'

# One that hangs holds up the first answer, and with it everything.
config "$RRM_OPENCODE" 16000
echo 'export const X = async () => { await new Promise(() => {}) }' >"$oc/plugin/x.js"
bad 28 "it does not answer for $R/a; does a plugin"
echo 'while (true);' >"$oc/plugin/x.js"
bad 28 'was not ready after'
rm "$oc/plugin/x.js"

# A port that somebody takes first: OpenCode ends, and another port is tried.
cat >"$T/taken" <<E
#!/bin/sh
if [ ! -e "$T/x/taker" ]; then
	# nobody's child, so not one of the backend's
	(setsid env -u RRM_BACKEND_OF -u RRM_REPO_ID node -e 'require("net").createServer()
		.listen(Number(process.argv[1]), "127.0.0.1", () => console.log("taken"))' "\$5" >"$T/x/taken" &
		echo \$! >"$T/x/taker")
	until [ -s "$T/x/taken" ]; do sleep 0.05; done
fi
exec "$RRM_OPENCODE" "\$@"
E
chmod +x "$T/taken"
config "$T/taken" 120000
rrm ensure a >"$T/x/url" 2>"$T/x/err" || die "the taken port was the end: $(cat "$T/x/err")"
grep -q 'taken_by="pid [0-9]* (node)"' "$T/x/err" || die "it does not say who has the port: $(cat "$T/x/err")"
kill "$(cat "$T/x/taker")"

# Moved away while it runs.
mv "$R/a" "$R/moved"
config "$RRM_OPENCODE" 90000
bad 30 'if it was moved, run rrm add where it is now'
mv "$R/moved" "$R/a"

# Configuration that is no JSON: OpenCode says so.
echo '{"username": ' >"$oc/opencode.json"
config "$RRM_OPENCODE" 20000
bad 40 'it printed: '
grep -q 'opencode\.json' "$T/x/err" || die "it does not name the file: $(cat "$T/x/err")"
rm "$oc/opencode.json"

# A disk that is full for OpenCode's own files, then not.
config "$RRM_OPENCODE" 20000
mkdir -p "$(state_dir a)/data"
mount -t tmpfs -o size=64k none "$(state_dir a)/data"
bad 40 'starting backend for a: '
umount "$(state_dir a)/data"
config "$RRM_OPENCODE" 90000
check rrm ensure a >/dev/null
check rrm stop a
