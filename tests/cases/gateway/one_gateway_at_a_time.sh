#!/bin/sh
# Who may serve, how it begins after a kill -9, and what ends it.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_gateway.sh"
start_gateway
eq "$(gateway_health | jq -r .repo_id)" g-0123456789abcdef repo_id
eq "$(stat -c %a "$G/gateway.sock")" 600 'mode of the socket'
good '{"id":"a1","epoch":3,"op":"create","path":"f","mode":420}'

# A second one is refused, and the first goes on.
fails_with 'another gateway serves' rrm-backend --serve --root "$T/root" --state "$G" --port 1024
gateway_health >/dev/null || die 'the first one is gone'

# kill -9 leaves the socket; the next one takes its place and knows epoch, ids and the log.
kill -9 "$gateway_pid"
wait "$gateway_pid" || true
[ -S "$G/gateway.sock" ] || die 'no socket was left'
start_gateway
eq "$(gateway_health | jq .epoch)" 3 'the epoch afterwards'
good '{"id":"a1","epoch":3,"op":"create","path":"f","mode":420,"flags":128}'
stop_gateway
eq "$(jq -r .op "$G/audit.jsonl")" create 'the only record'

# The lifeline: the end of stdin is the end.
start_gateway
exec 9>&-
wait "$gateway_pid" || die "status $? at the end of stdin"
[ ! -e "$G/gateway.sock" ] || die 'the socket is left'

# The parent: its death is the end also while somebody else holds the lifeline.
sleep 1000 | sh -c 'rrm-backend --gateway --root "$0/root" --state "$1" <&3 3<&- 2>>"$0/gateway.log" &
	echo $! >"$0/pid"; exec sleep 1000' "$T" "$G" 3<&0 &
wait_until '[ -s "$T/pid" ] && gateway_health >/dev/null'
child=$(cat "$T/pid")
kill "$(awk '{ print $4 }' "/proc/$child/stat")"
wait_until "! kill -0 $child 2>/dev/null"
# shellcheck disable=SC2046 # pids
kill $(pgrep -P $$ sleep) 2>/dev/null || true

# Wrong usage and places that are not there.
eq "$(status_of rrm-backend)" 2 'status without options'
eq "$(status_of rrm-backend --serve --gateway --root / --state /)" 2 'status of both'
eq "$(status_of rrm-backend --serve --root "$T/root" --state "$G" --port 0)" 2 'status of port 0'
eq "$(status_of rrm-backend --help)" 0 'status of --help'
fails_with 'No such file' rrm-backend --gateway --root "$T/none" --state "$G"
fails_with 'needs a pipe' rrm-backend --gateway --root "$T/root" --state "$G"
deep=$T/$(printf 'd%.0s' $(seq 60))/$(printf 'e%.0s' $(seq 40))
mkdir -p "$deep"
cp "$G/password" "$deep/"
fails_with 'set RRM_HOME to a shorter directory' \
	rrm-backend --serve --root "$T/root" --state "$deep" --port 1025
