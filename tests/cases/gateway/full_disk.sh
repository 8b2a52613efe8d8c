#!/bin/sh
# With no room for its record a change is refused before it is made; with room again, all goes on.
# needs: root
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_gateway.sh"
mount -t tmpfs -o size=6m,mode=0700 rrm-test "$G"
start_gateway
good '{"id":"a1","epoch":1,"op":"create","path":"f","mode":420}'
stop_gateway
dd if=/dev/zero of="$G/filler" bs=4k 2>/dev/null || true
start_gateway
eq "$(post '{"id":"a2","epoch":1,"op":"append","path":"f"}' -d hello)" 200 status
eq "$(jq .errno "$T/answer")" 28 'errno on a full disk'
grep -qF 'nothing was changed' "$T/answer" || die "said $(cat "$T/answer")"
[ ! -s "$T/root/f" ] || die 'it was changed without a record'
rm "$G/filler"
good '{"id":"a2","epoch":1,"op":"append","path":"f"}' -d hello
stop_gateway
eq "$(cat "$T/root/f")" hello 'the file'
eq "$(jq -r .result "$G/audit.jsonl" | sort | uniq -c | awk '{ print $1 $2 }')" 2ok 'the records'
umount "$G"
