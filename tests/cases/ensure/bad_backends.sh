#!/bin/sh
# A backend that does not come up is a sentence within the bound, with the end of its own output; the
# registry says failed, nothing is left running, and the next ensure tries again.
# timeout: 300
. "${0%/*}/../lib.sh"
make_repo a
# Long for what ends by itself; $start_ms is all of it where nothing comes.
start_ms=20000
fake() {
	printf '#!/bin/sh\n%s\n' "$1" >"$T/opencode"
	chmod +x "$T/opencode"
	write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$T/opencode\",
		\"start_timeout_ms\":$start_ms}"
}
reg=$(state_dir a)/registry.json
bounded_fails_with() {
	bf_s=$((start_ms / 1000 + 18)) # less than the default of start_timeout_ms, with the shorter ones
	bf_end=$(($(date +%s) + bf_s))
	fails_with "$@"
	[ "$(date +%s)" -lt "$bf_end" ] || die "it took more than $bf_s s"
	eq "$(wc -l <"$T/x/err")" 1 'lines on stderr'
}

write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$T/opencode\"}"
bounded_fails_with 'is not found on PATH' rrm ensure a
eq "$(jq -r .state "$reg")" failed 'the state in the registry'

fake 'exit 0'
chmod -x "$T/opencode"
bounded_fails_with 'may not be executed' rrm ensure a

fake 'echo "loading"; echo "Error: the licence has run out" >&2; exit 3'
bounded_fails_with 'it printed: loading | Error: the licence has run out' rrm ensure a
jq -r .error "$reg" | grep -qF 'the licence has run out' || die 'the registry does not say why'
grep -q '^rrm: starting backend for a: ' "$T/x/err" || die "not our sentence: $(cat "$T/x/err")"

start_ms=3000
fake 'exec sleep 1000'
eq "$(status_of rrm ensure a)" 124 'the exit status of a timeout'
grep -q 'does not listen; it printed nothing' "$T/x/err" || die "said: $(cat "$T/x/err")"
eq "$(grep -lzx "RRM_BACKEND_OF=$(state_dir a)" /proc/[0-9]*/environ 2>/dev/null)" '' 'what is left running'

# Children in sessions of their own do not escape, nor does one that ignores SIGTERM.
fake 'setsid sh -c "trap \"\" TERM; while :; do sleep 1000; done" & exec sleep 1000'
eq "$(status_of rrm ensure a)" 124 'the exit status of a timeout with children'
eq "$(grep -lzx "RRM_BACKEND_OF=$(state_dir a)" /proc/[0-9]*/environ 2>/dev/null)" '' 'what is left running'

# Programs that listen, but are no OpenCode, or not one that rrm can use: HOW is what they do.
cat >"$T/fake.js" <<'E'
const how = process.argv[2], port = Number(process.argv[process.argv.indexOf("--port") + 1])
const answers = {
	old: [200, '{"healthy":true,"version":"1.2.3"}'],
	unwell: [503, '{"healthy":false}'],
	locked: [401, "Unauthorized"],
	stranger: [200, '{"healthy":true,"version":"1.18.33","repo_id":"somebody-elses"}'],
	web: [200, "<!doctype html>"],
	bare: [200, '{"healthy":true,"version":"1.18.33"}'],
}
require("http").createServer((request, response) => {
	if (how === "silent" || (how === "hangs" && request.url !== "/global/health")) return
	const [code, text] = answers[how === "hangs" ? "bare" : how]
	response.writeHead(code, { "content-type": "application/json" })
	response.end(text)
}).listen(port, "127.0.0.1", () => how === "silent" || console.log("opencode server listening"))
E
# says HOW TEXT: what ensure says, and status after it. Node has the time to begin on a slow machine.
start_ms=8000
says() {
	fake "exec node '$T/fake.js' $1 \"\$@\""
	bounded_fails_with "$2" rrm ensure a
	eq "$(jq -r .state "$reg")" failed "the state with $1"
	rrm status --json a | jq -r '.[0].last_error' | grep -qF -e "$2" ||
		die "status of $1 does not say why: $(rrm status a)"
	eq "$(grep -lzx "RRM_BACKEND_OF=$(state_dir a)" /proc/[0-9]*/environ 2>/dev/null)" '' "what is left of $1"
}
says silent 'accepts connections and does not answer; it printed nothing'
says old 'it is OpenCode 1.2.3, and rrm needs '
grep -q 'npm install -g opencode-ai' "$T/x/err" || die "does not say what to install: $(cat "$T/x/err")"
says unwell 'says that it is not healthy'
says locked 'refuses the password of this repository (401)'
says stranger 'answers as somebody else'
says web 'answers as somebody else'
says hangs "it does not answer for $R/a; does a plugin"
says bare 'its gateway (gateway.sock) does not listen; the plugin rrm.js was not loaded'

# A port that somebody takes between the choice and the start, each time: the sentence says who.
start_ms=60000
fake "setsid env -u RRM_BACKEND_OF -u RRM_REPO_ID node -e '
	require(\"net\").createServer().listen(Number(process.argv[1]), \"127.0.0.1\", () => console.log(\"taken\", process.argv[1]))' \"\$5\" &
echo \$! >>'$T/takers'
until grep -qx \"taken \$5\" '$(state_dir a)/backend.log'; do sleep 0.05; done
echo 'Error: ServeError' >&2
exit 1"
fails_with 'starting backend for a: port ' rrm ensure a
tail -n 1 "$T/x/err" | grep -q ' is taken by pid [0-9]* (node)' || die "does not say who has the port: $(cat "$T/x/err")"
xargs kill <"$T/takers"
start_ms=3000

write_config '{"backend":"embedded"}'
check rrm ensure a >/dev/null
eq "$(jq -r .state "$reg")" ready 'the state afterwards'
check rrm stop a

# A repository that is moved, or removed, while its backend runs: it has none any more.
make_repo gone
check rrm ensure gone >/dev/null
gone=$(state_dir gone)
pid=$(jq .pid "$gone/registry.json")
mv "$R/gone" "$R/moved"
bounded_fails_with 'rrm remove gone forgets it' rrm ensure gone
wait_until '! kill -0 $pid 2>/dev/null || grep -q "^State:.Z" /proc/$pid/status'
eq "$(jq -r .state "$gone/registry.json")" failed 'the state of a repository that was moved'
mv "$R/moved" "$R/gone"
check rrm ensure gone >/dev/null
rm -r "$R/gone"
bounded_fails_with 'rrm remove gone forgets it' rrm ensure gone
rrm status gone | grep -q 'last error: .*rrm remove gone forgets it' || die 'status does not say that it is gone'

# A state directory that is full, and then is not any more.
if [ "$(id -u)" = 0 ]; then
	make_repo full
	full=$(state_dir full)
	cp "$full/repo.json" "$T/x/repo.json"
	mount -t tmpfs -o size=4m none "$full"
	cp "$T/x/repo.json" "$full/repo.json"
	head -c 4194304 /dev/zero >"$full/ballast" 2>/dev/null || :
	# That it failed cannot be written down either, which is a line of its own.
	fails_with 'No space left on device' rrm ensure full
	rm "$full/ballast"
	check rrm ensure full >/dev/null
	check rrm stop full
	umount "$full"
fi

# HOME that may not be written (root may anyhow, so it is a file system), and no HOME at all.
if [ "$(id -u)" = 0 ]; then
	mkdir "$T/ro"
	mount -t tmpfs -o ro none "$T/ro"
	fake 'exit 7'
	(
		unset XDG_DATA_HOME
		export HOME="$T/ro"
		bounded_fails_with 'set HOME or XDG_DATA_HOME to a directory that you may write' rrm ensure a
		unset RRM_HOME
		bounded_fails_with 'Read-only file system' rrm add "$R/a"
	)
	umount "$T/ro"
	write_config '{"backend":"embedded"}'
fi
(
	unset HOME XDG_CONFIG_HOME XDG_DATA_HOME
	check rrm status a >/dev/null
	unset RRM_HOME
	bounded_fails_with 'HOME' rrm ensure a
)

# A state base too deep for a unix socket.
deep=$T/$(printf 'd%.0s' $(seq 90))
export RRM_HOME="$deep"
check rrm add "$R/a" >/dev/null
bounded_fails_with 'set RRM_HOME to a shorter path' rrm ensure a
