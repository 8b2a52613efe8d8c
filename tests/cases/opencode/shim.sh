#!/bin/sh
# The shim, an `opencode` in front of the real one: no verb is the TUI on the repository's backend, run goes to
# that backend, serve listens in its stead for this user alone; every other call is the real program's. It is never
# taken for the real program, and never put over somebody's file.
# needs: opencode
# timeout: 500
. "${0%/*}/../lib.sh"
. "$case_dir/lib_tui.sh"
. "$case_dir/lib_sdk.sh"
unset OPENCODE_DISABLE_AUTOUPDATE
make_repo a
git_repo unknown

# --- installing ----------------------------------------------------------------------------------

mkdir -p "$T/p1" "$T/p2" "$T/p3"
echo 'echo mine' >"$T/p1/opencode"
fails_with "$T/p1/opencode is not rrm's shim and is left alone" rrm shim install "$T/p1"
fails_with "$T/p1/opencode is not rrm's shim and is left alone" rrm shim remove "$T/p1"
eq "$(cat "$T/p1/opencode")" 'echo mine' 'a file of somebody else'
ln -s /nowhere "$T/p2/opencode"
fails_with 'is left alone' rrm shim install "$T/p2"
check rrm shim install "$T/p3" >"$T/x/o" 2>"$T/x/e"
eq "$(cat "$T/x/o")" "$T/p3/opencode" 'the path that was installed'
grep -q "the shell finds $T/bin/opencode first" "$T/x/e" || die "no word about PATH: $(cat "$T/x/e")"
check rrm shim install "$T/p3" 2>/dev/null >"$T/x/o"
check env PATH="$T/p3:$PATH" rrm shim install "$T/p3" >"$T/x/o" 2>"$T/x/e"
eq "$(cat "$T/x/e")" '' 'what an install says that is in use'
check rrm shim remove "$T/p3"
[ ! -e "$T/p3/opencode" ] || die 'the shim is still there'
check rrm shim remove "$T/p3"
check rrm shim install >/dev/null 2>&1
check test -x "$HOME/.local/bin/opencode"
check rrm shim remove
eq "$(status_of rrm shim)" 2 'status without a word'

# --- who is called -------------------------------------------------------------------------------

# A real program that tells what it was called with; as a backend it is the real one.
mkdir "$T/tell"
cat >"$T/tell/opencode" <<END
#!/bin/sh
[ "\$1" != serve ] || [ "\$2 \$3" != "--hostname 127.0.0.1" ] || exec "$RRM_OPENCODE" "\$@"
printf '<%s>' "\$@"
echo " \${OPENCODE_SERVER_PASSWORD:+password}"
END
chmod +x "$T/tell/opencode"
told() (
	told_dir=$1
	shift
	cd "$told_dir" && exec env PATH="$T/bin:$T/tell:$PATH" opencode "$@" 2>"$T/x/told"
)
told_err() (
	told_dir=$1
	shift
	cd "$told_dir" && exec env PATH="$T/bin:$T/tell:$PATH" opencode "$@"
)
eq "$(told "$R/a" auth login 'a b')" '<auth><login><a b> ' 'another verb'
eq "$(told "$R/a" --version)" '<--version> ' 'the version'
eq "$(told "$R/a" serve --help)" '<serve><--help> ' 'help for a verb of ours'
eq "$(told "$R/a" run --attach http://x hi)" '<run><--attach><http://x><hi> ' 'a server of the user'
eq "$(cat "$T/x/told")" '' 'said beside it'
eq "$(told "$R/unknown" run -m x/y hi)" '<run><-m><x/y><hi> ' 'run outside of all repositories'
grep -q 'is in no registered repository, so OpenCode runs there without rrm' "$T/x/told" || die 'no word about it'
eq "$(told "$R/unknown" serve --port=1)" '<serve><--port=1> ' 'serve outside of all repositories'
eq "$(rrm status --json a | jq -r '.[0].state')" stopped 'a backend that nobody asked for'
url=$(rrm ensure a)
eq "$(told "$R/a/src" run --title 't u' hi)" "<run><--attach><$url><--dir><$R/a><--title><t u><hi> password" 'run'
eq "$(told "$R/unknown" run --dir ../a/src hi)" "<run><--attach><$url><--dir><$R/a><hi> password" 'run --dir'
for bad in --model=x --port=1 --prompt=x --unheard-of; do
	fails_with "$bad cannot be had with the one backend of a" told_err "$R/a" "$bad"
done

# --- never itself --------------------------------------------------------------------------------

mkdir -p "$T/links"
ln -s "$T/bin/opencode" "$T/links/opencode"
fails_with 'is not found on PATH' env PATH="$T/links:$(echo "$PATH" | sed "s|$T/real:||g")" opencode models
check rrm stop a
write_config "{\"opencode_command\": \"$T/links/opencode\", \"backend\": \"opencode\"}"
fails_with "is rrm's own shim" rrm ensure a
fails_with "is rrm's own shim" opencode models
printf '#!/bin/sh\nexec %s/bin/opencode "$@"\n' "$T" >"$T/p3/wrapper"
chmod +x "$T/p3/wrapper"
write_config "{\"opencode_command\": \"$T/p3/wrapper\", \"start_timeout_ms\": 20000, \"backend\": \"opencode\"}"
fails_with "leads to rrm's own shim" rrm ensure a

# --- run, with a model that answers ------------------------------------------------------------------

node "$case_dir/shim_model.mjs" "$T/x/port" 'forty-two, says the model' >"$T/x/model.log" 2>&1 &
model=$!
wait_until '[ -s "$T/x/port" ]'
mkdir -p "$XDG_CONFIG_HOME/opencode"
jq -n --arg url "http://127.0.0.1:$(cat "$T/x/port")/v1" '{model: "s/m", small_model: "s/m", share: "disabled",
	provider: {s: {npm: "@ai-sdk/openai-compatible", name: "s", options: {baseURL: $url, apiKey: "x"},
		models: {m: {name: "m"}}}}}' >"$XDG_CONFIG_HOME/opencode/opencode.json"
write_config '{"start_timeout_ms": 120000}'
(cd "$R/a/src" && timeout 120 opencode run --title told 'what is it?' </dev/null >"$T/x/o" 2>"$T/x/e") ||
	die "opencode run: $(cat "$T/x/e")"
grep -q 'forty-two, says the model' "$T/x/o" || die "opencode run printed: $(cat "$T/x/o")"

# --- serve ---------------------------------------------------------------------------------------

shim_start a
pid=$(backend_pid a)
get "$shim_url/session" >"$T/x/o"
eq "$(jq -r '.[] | select(.title == "told") | .directory' "$T/x/o")" "$R/a" "run's session in the backend"
[ "$(curl -s -o /dev/null -w '%{http_code}' "$(rrm ensure a)/session")" = 401 ] || die 'the backend asks for no password'
# A connection that is kept has the password in each request.
get -o "$T/x/o" -o "$T/x/o" -o "$T/x/o" -w '%{http_code} %{num_connects}\n' "$shim_url/path" "$shim_url/path" \
	"$shim_url/path" >"$T/x/codes"
eq "$(tr '\n' ' ' <"$T/x/codes")" '200 1 200 0 200 0 ' 'three requests on one connection'
# A body in chunks, of more than every buffer.
sid=$(get "$shim_url/session" -H 'content-type: application/json' -d '{}' | jq -r .id)
printf '{"title":"%s"}' "$(head -c 700000 /dev/zero | tr '\0' y)" >"$T/x/body"
get "$shim_url/session/$sid" -X PATCH -H 'content-type: application/json' -H 'Transfer-Encoding: chunked' \
	--data-binary "@$T/x/body" >"$T/x/o"
eq "$(get "$shim_url/session/$sid" | jq '.title | length')" 700000 'the length of a large title'
# An event stream arrives while it goes on.
curl -sN "$shim_url/event" >"$T/x/events" &
stream=$!
wait_until 'grep -q server.connected "$T/x/events"'
get "$shim_url/session" -H 'content-type: application/json' -d '{"title":"seen"}' >/dev/null
wait_until 'grep -q session.created "$T/x/events"'
kill "$stream"
# A websocket: a terminal of the backend's.
pty=$(get "$shim_url/pty" -H 'content-type: application/json' -d '{"command":"sh","args":["-c","echo from the pty; sleep 100"]}' | jq -r .id)
curl -sN --max-time 60 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
	-H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "$shim_url/pty/$pty/connect" >"$T/x/ws" 2>/dev/null &
stream=$!
wait_until 'grep -qa "from the pty" "$T/x/ws"'
kill "$stream" 2>/dev/null || true
get "$shim_url/pty/$pty" -X DELETE >/dev/null
# Nobody else is served, whatever it asks.
refuse setpriv --reuid=65534 --clear-groups curl -s --max-time 10 "$shim_url/path" >"$T/x/o"
eq "$(cat "$T/x/o")" '' 'what another user is told'
wait_until 'grep -q "event=shim refused_uid=65534" "$T/x/serve.err"'
# What is no HTTP is told so.
eq "$(node -e 'const s = require("net").connect(process.argv[1], "127.0.0.1", () => s.write("hello\r\n\r\n"))
	s.pipe(process.stdout)' "${shim_url##*:}" | head -n 1 | tr -d '\r')" \
	'HTTP/1.1 400 Bad Request' 'the answer to nonsense'

# The backend crashes: the next request waits for it.
port=${shim_url##*:}
kill -9 "$pid"
wait_until "[ \"\$(rrm status --json a | jq -r '.[0].state')\" != ready ]"
eq "$(get "$shim_url/session/$sid" | jq '.title | length')" 700000 'after a crash of the backend'
pid=$(backend_pid a)
# Stopped on purpose: it is started again for the next one.
check rrm stop a
eq "$(get "$shim_url/path" | jq -r .directory)" "$R/a" 'after rrm stop'
pid=$(backend_pid a)
fails_with "port $port is taken by pid $shim_pid (rrm)" sh -c 'cd "$0" && exec opencode serve --port "$1"' "$R/a" "$port"
fails_with 'is no address of this machine alone' sh -c 'cd "$0" && exec opencode serve --hostname 0.0.0.0' "$R/a"
fails_with '"x" is no port' sh -c 'cd "$0" && exec opencode serve --port x' "$R/a"
fails_with '--mdns cannot be had' sh -c 'cd "$0" && exec opencode serve --mdns' "$R/a"
shim_end
eq "$(backend_pid a)" "$pid" 'the backend after the end of serve'
shim_start a --hostname localhost --port "$port"
eq "$shim_url" "http://localhost:$port" 'the address that was asked for'
eq "$(get "$shim_url/path" | jq -r .directory)" "$R/a" 'on the port that was asked for'
shim_end
# Its backend cannot be started: requests are told so.
write_config '{"start_timeout_ms": 1, "backend": "opencode"}'
check rrm stop a
: >"$T/x/serve"
(cd "$R/a" && exec opencode serve) >"$T/x/serve" 2>"$T/x/serve.err" &
shim_pid=$!
wait_until 'grep -q "^opencode server listening" "$T/x/serve" || ! kill -0 $shim_pid 2>/dev/null' 60
if [ -s "$T/x/serve" ]; then
	# The machine was so slow that it took more than a second: then requests are told.
	refuse get --fail-with-body "$(sed -n 's/^opencode server listening on //p' "$T/x/serve")/session" >"$T/x/serve.err" 2>/dev/null
	shim_end
else
	refuse wait "$shim_pid"
fi
grep -qF 'starting backend for a: ' "$T/x/serve.err" || die "it said: $(cat "$T/x/serve.err")"
write_config '{"backend": "embedded"}'
fails_with 'has no TUI: "backend" is "embedded"' sh -c 'cd "$0" && exec opencode serve' "$R/a"
fails_with 'has no TUI: "backend" is "embedded"' rrm attach a
write_config '{"opencode_command": "no-such-program"}'
fails_with '"no-such-program" is not found on PATH' rrm attach a
eq "$(status_of rrm attach --continue)" 2 'status with an option of the TUI in front of --'

# --- the TUI -------------------------------------------------------------------------------------

write_config '{"start_timeout_ms": 120000}'
fails_with 'the TUI needs a terminal' sh -c 'cd "$0" && exec opencode' "$R/a"
fails_with 'is not a registered repository' rrm attach "$R/unknown"
tui_start a "$R/unknown" opencode ../a
tui_await 120 hello a
eq "$tui_dead" '' 'the TUI by way of the shim'
pid=$(backend_pid a)
tui_works a SHIM
eq "$(backend_pid a)" "$pid" 'the backend of the TUI'
tr '\0' '\n' <"/proc/$(tm display-message -p -t =main:=a '#{pane_pid}')/cmdline" >"$T/x/args"
refuse grep -qF -f "$(state_dir a)/password" "$T/x/args"
kill "$model"
