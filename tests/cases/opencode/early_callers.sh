#!/bin/sh
# An OpenCode accepts callers some time before it can answer, and forgets what they ask. When it is ready, after a crash as
# after any start, nobody waits for an answer that will never come: not the event stream of an attached TUI either.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
[ -x "${RRM_OPENCODE-}" ] ||
	die "RRM_OPENCODE must name the opencode binary of the pinned npm package; it is '${RRM_OPENCODE-}'"
write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$RRM_OPENCODE\",\"start_timeout_ms\":90000}"
make_repo a
start_mount
check rrm ensure a >/dev/null
reg=$(state_dir a)/registry.json
port=$(jq .port "$reg")
pid=$(jq .pid "$reg")
# Callers without a pause, from the crash until it is ready; then each is to be answered, or let go.
cat >"$T/x/callers.py" <<'PY'
import json, select, socket, sys, time

port, registry, old = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
callers = []
until = time.monotonic() + 120
while time.monotonic() < until:
    r = json.load(open(registry))
    if r["pid"] != old and r["state"] == "ready":
        break
    s = socket.socket()
    try:
        s.connect(("127.0.0.1", port))
        s.sendall(b"GET /global/event HTTP/1.1\r\nHost: localhost\r\n\r\n")
        callers.append(s)
    except OSError:
        s.close()
    time.sleep(0.02 if len(callers) < 500 else 0.5)
else:
    sys.exit("it is not ready")
until = time.monotonic() + 20
waiting = callers
while waiting and time.monotonic() < until:
    # readable: an answer (401, for nobody gave the password), or the end
    readable = select.select(waiting, [], [], 1)[0]
    waiting = [s for s in waiting if s not in readable]
print(len(callers), len(waiting))
PY
kill -9 "$pid"
python3 "$T/x/callers.py" "$port" "$reg" "$pid" >"$T/x/out"
read -r callers waiting <"$T/x/out"
eq "$(jq .port "$reg")" "$port" 'the port after the crash'
[ "$callers" -gt 0 ] || die 'nobody called before it was ready'
eq "$waiting" 0 "callers, of $callers, that nobody answers and nobody lets go"
stop_mount
