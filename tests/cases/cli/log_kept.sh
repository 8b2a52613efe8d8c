#!/bin/sh
# audit_keep_mib and audit_keep_days: old parts of the audit go when a backend starts, the chain is still proven
# from there on, and what is taken away by somebody else is found.
. "${0%/*}/../lib.sh"

make_repo web
state=$(state_dir web)
# parts PATH...: a chain of records of 300 KiB in each of these files
prev=$(printf '0%.0s' $(seq 64))
seq=0
fill=$(head -c 150000 /dev/zero | tr '\0' x)
part() {
	for _ in 1 2; do
		seq=$((seq + 1))
		line=$(printf '{"seq":%d,"ts":"2026-11-22T17:40:%02d.000Z","op":"write","path":"p","bytes":3,"result":"ok","message":"%s","actor":{"pid":7,"comm":"sh","home":null},"prev":"%s"}' \
			"$seq" "$seq" "$fill" "$prev")
		printf '%s\n' "$line" >>"$1"
		prev=$(printf %s "$line" | sha256sum | cut -d' ' -f1)
	done
}
parts() {
	(cd "$state" && echo audit.*jsonl)
}
for n in 1 3 5 7 9; do
	part "$state/audit.$n.jsonl"
done
part "$state/audit.jsonl"
eq "$(rrm log web --verify)" 'web: 12 records, the chain is whole' 'five parts and the newest'

write_config '{"audit_keep_mib": 1}'
echo x | RRM_BACKEND=embedded check rrm write web/new
check rrm stop web
eq "$(parts)" 'audit.5.jsonl audit.7.jsonl audit.9.jsonl audit.jsonl' 'what is kept'
eq "$(jq -c .seq "$state/audit.begin")" 5 'where it begins'
# A slow machine makes more than one record of the write.
n=$(cat "$state"/audit.*jsonl | wc -l)
[ "$n" -gt 8 ] || die "only $n records are kept"
eq "$(rrm log web --verify)" "web: $n records, the chain is whole from #5 on; older ones were cleared" 'what is kept, checked'
eq "$(rrm log web --verify --json | jq -c '.[0] | [.ok, .begins]')" '[true,5]' 'the verdict as JSON'
eq "$(rrm log web --json | jq '.[0].seq')" 5 'the first record shown'

# a part that only the removal itself could have left before it is fine; one that is missing is not
mv "$state/audit.5.jsonl" "$T/"
eq "$(status_of rrm log web --verify)" 3 'with a part missing'
grep -q 'web: audit.7.jsonl line 1: it is not the record with which audit.begin says' "$T/x/err" || die "said: $(cat "$T/x/err")"
mv "$T/audit.5.jsonl" "$state/"
check rrm log web --verify >/dev/null
echo '{"seq":5' >"$state/audit.begin"
eq "$(status_of rrm log web --verify)" 3 'with a damaged audit.begin'
rm "$state/audit.begin"
eq "$(status_of rrm log web --verify)" 3 'without audit.begin'

# by age: all but the newest part and audit.jsonl
touch -d '3 days ago' "$state"/audit.[579].jsonl
write_config '{"audit_keep_days": 2}'
echo y | RRM_BACKEND=embedded check rrm write web/new
check rrm stop web
eq "$(parts)" 'audit.9.jsonl audit.jsonl' 'what is kept of the old'
check rrm log web --verify >/dev/null
