#!/bin/sh
# A log of 200 MiB is shown in bounded memory, and its end at once.
# timeout: 300
. "${0%/*}/../lib.sh"

make_repo web
log=$(state_dir web)/audit.jsonl
awk 'BEGIN {
	for (i = 1; i <= 1000; i++)
		printf "{\"seq\":%d,\"ts\":\"2026-11-22T17:40:00.000Z\",\"op\":\"write\",\"path\":\"p%0900d\",\"result\":\"ok\"}\n", i, i
}' >"$T/block"
i=0
while [ "$i" -lt 200 ]; do
	cat "$T/block"
	i=$((i + 1))
done >"$log"
[ "$(stat -c %s "$log")" -gt 190000000 ] || die 'the log is too small for this'
# the whole address space at most 128 MiB; sanitizers reserve more than that
if ldd "$(command -v rrm)" | grep -q san; then
	eq "$(rrm log web -n 3 --json | jq length)" 3 'the last three'
	exit 0
fi
small() {
	prlimit --as=134217728 rrm "$@"
}
eq "$(small log web -n 3 --json | jq -r '[.[].seq] | join(" ")')" '998 999 1000' 'the last three'
eq "$(small log web | wc -l)" 200000 'all'
eq "$(status_of small log web --verify)" 3 'the check'
