#!/bin/sh
# The embedded backend answers health on 127.0.0.1 to who knows the password; a taken port is told.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_gateway.sh"
serve() {
	rrm-backend --serve --root "$T/root" --state "$G" --port "$1" </dev/null 2>>"$T/gateway.log" &
	gateway_pid=$!
}
for port in $(seq 42311 42340); do
	serve "$port"
	wait_until "gateway_health >/dev/null || ! kill -0 $gateway_pid 2>/dev/null"
	kill -0 "$gateway_pid" 2>/dev/null && break
done
health() {
	curl -s -o "$T/answer" -w '%{http_code}' "$@"
}
url=http://127.0.0.1:$port/global/health
eq "$(health -u opencode:secret "$url")" 200 status
eq "$(jq -r '"\(.healthy) \(.repo_id) \(.pid) \(.root)"' "$T/answer")" \
	"true g-0123456789abcdef $gateway_pid $T/root" health
eq "$(health "$url")" 401 'status without a password'
eq "$(health -u opencode:wrong "$url")" 401 'status with a wrong one'
eq "$(health -u opencode: "$url")" 401 'status with an empty one'
eq "$(health -u root:secret "$url")" 401 'status of another user'
eq "$(health -u opencode:secret "http://127.0.0.1:$port/mutations")" 404 'mutations over TCP'
eq "$(health -u opencode:secret -X POST -d x "$url")" 405 'status of POST'

mkdir -m 0700 "$T/other-0123456789abcdef"
cp "$G/password" "$T/other-0123456789abcdef/"
fails_with "port $port of 127.0.0.1 is taken" \
	rrm-backend --serve --root "$T/root" --state "$T/other-0123456789abcdef" --port "$port"
[ ! -e "$T/other-0123456789abcdef/gateway.sock" ] || die 'it left a socket'
stop_gateway
rm "$G/password"
fails_with 'password' rrm-backend --serve --root "$T/root" --state "$G" --port "$port"
