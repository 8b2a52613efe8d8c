#!/bin/sh
# A log of 200 MiB (RRM_LOG_MIB by hand) is shown in bounded memory, and its end at once; also with a damaged
# line in its middle.
# timeout: 300
. "${0%/*}/../lib.sh"

make_repo web
log=$(state_dir web)/audit.jsonl
awk 'BEGIN {
	for (i = 1; i <= 1000; i++)
		printf "{\"seq\":%d,\"ts\":\"2026-11-22T17:40:00.000Z\",\"op\":\"write\",\"path\":\"p%0900d\",\"result\":\"ok\"}\n", i, i
}' >"$T/block"
i=0
mib=${RRM_LOG_MIB-200}
while [ "$i" -lt "$mib" ]; do
	cat "$T/block"
	[ "$i" != 100 ] || echo '{"damaged'
	i=$((i + 1))
done >"$log"
[ "$(stat -c %s "$log")" -gt $((mib * 950000)) ] || die 'the log is too small for this'
# the whole address space at most 128 MiB; sanitizers reserve more than that
if ldd "$(command -v rrm)" | grep -q san; then
	eq "$(rrm log web -n 3 --json | jq length)" 3 'the last three'
	exit 0
fi
small() {
	prlimit --as=134217728 rrm "$@"
}
eq "$(small log web -n 3 --json | jq -r '[.[].seq] | join(" ")')" '998 999 1000' 'the last three'
eq "$(small log web 2>"$T/x/err" | wc -l)" "${mib}000" 'all'
grep -q 'the line at byte .* is skipped' "$T/x/err" || die "the damaged line was not said: $(cat "$T/x/err")"
eq "$(small log web --stat --json 2>/dev/null | jq '.[0].records')" "${mib}000" 'the sums'
check small report -o "$T/report.html" 2>/dev/null
eq "$(status_of small log web --verify)" 3 'the check'
