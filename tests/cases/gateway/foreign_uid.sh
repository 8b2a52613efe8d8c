#!/bin/sh
# Another user is refused by who he is, even where file modes would let him connect.
# needs: root
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_gateway.sh"
start_gateway
chmod 0711 "$T" "$G"
chmod 0666 "$G/gateway.sock"
as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups curl -s -w ' %{http_code}' \
		--unix-socket "$G/gateway.sock" "$@"
}
as_nobody http://rrm/health >"$T/out"
grep -q 'serves its own user only.* 403$' "$T/out" || die "said $(cat "$T/out")"
as_nobody -X POST -H 'Rrm-Mutation: {"id":"a","epoch":1,"op":"mkdir","path":"d"}' \
	http://rrm/mutations >"$T/out"
grep -q ' 403$' "$T/out" || die "said $(cat "$T/out")"
[ ! -e "$T/root/d" ] || die 'he made a directory'
gateway_health >/dev/null || die 'its own user is refused'
stop_gateway
