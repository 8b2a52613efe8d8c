# A gateway of its own for the cases here, without rrm and without a mount; sourced after ../lib.sh.
#
#	$T/root  its root      $G  its state directory      $G/gateway.sock
# shellcheck shell=sh
G=$T/g-0123456789abcdef
gateway_pid=
mkdir -p "$T/root" "$G"
chmod 0700 "$G"
echo secret >"$G/password"

# start_gateway [OPTIONS]: in the background, with a lifeline held by this shell on fd 9.
start_gateway() {
	[ -p "$T/life" ] || mkfifo "$T/life"
	exec 9<>"$T/life"
	rrm-backend --gateway --root "$T/root" --state "$G" "$@" <"$T/life" 9>&- 2>>"$T/gateway.log" &
	gateway_pid=$!
	wait_until '[ -S "$G/gateway.sock" ] && gateway_health >/dev/null'
}

# stop_gateway: by SIGTERM; status 0 and no socket left.
stop_gateway() {
	kill "$gateway_pid"
	sg=0
	wait "$gateway_pid" || sg=$?
	eq "$sg" 0 "exit status of the gateway ($(tail -3 "$T/gateway.log"))"
	[ ! -e "$G/gateway.sock" ] || die 'the socket is left'
}

gateway_health() {
	curl -sf --unix-socket "$G/gateway.sock" http://rrm/health
}

# post HEADER [CURL OPTIONS]: prints the status; the body is in $T/answer.
post() {
	po=$1
	shift
	curl -s -o "$T/answer" -w '%{http_code}' --unix-socket "$G/gateway.sock" -X POST \
		-H "Rrm-Mutation: $po" "$@" http://rrm/mutations || true
}

# bad TEXT STATUS HEADER [CURL OPTIONS]: it must be refused with that status and say TEXT.
bad() {
	ba_text=$1
	ba_status=$2
	shift 2
	rm -f "$T/answer"
	eq "$(post "$@")" "$ba_status" "status of $1"
	jq -e .error "$T/answer" | grep -qF -e "$ba_text" ||
		die "said '$(cat "$T/answer")', not '$ba_text': $1"
}

# good HEADER [CURL OPTIONS]
good() {
	eq "$(post "$@")" 200 "status of $1"
	jq -e .ok "$T/answer" >/dev/null || die "failed: $(cat "$T/answer")"
}
