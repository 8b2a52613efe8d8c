#!/bin/sh
# rrm log: filters, the last N, damaged lines, the chain, rotation, and following it.
. "${0%/*}/../lib.sh"

make_repo web
make_repo api
log=$(state_dir web)/audit.jsonl
prev=$(printf '0%.0s' $(seq 64))
seq=0
# record PATH HOME: as the gateway writes one
record() {
	seq=$((seq + 1))
	line=$(printf '{"seq":%d,"ts":"2026-11-22T17:40:%02d.000Z","op":"write","path":"%s","bytes":3,"result":"ok","actor":{"pid":7,"comm":"sh","home":"%s"},"prev":"%s"}' \
		"$seq" "$seq" "$1" "$2" "$prev")
	printf '%s\n' "$line" >>"$log"
	prev=$(printf %s "$line" | sha256sum | cut -d' ' -f1)
}
seqs() {
	rrm log web --json "$@" | jq -r '[.[].seq] | join(" ")'
}
eq "$(rrm log web --json)" '[]' 'an empty log'
record a.c "$(repo_id api)"
record src/b.c ''
mv "$log" "${log%.jsonl}.2.jsonl"
record c.h "$(repo_id api)"
record d.c ''
eq "$(seqs)" '1 2 3 4' 'all'
eq "$(seqs -n 2)" '3 4' 'the last two'
eq "$(seqs -n 3)" '2 3 4' 'the last three, from two files'
eq "$(seqs -n 0)" '' 'none'
eq "$(seqs --path '*.c')" '1 2 4' 'by path'
eq "$(seqs --from api)" '1 3' 'by home'
eq "$(seqs --from none)" '2 4' 'by no home'
eq "$(seqs --since 2026-11-22T17:40:03Z)" '3 4' 'by time'
eq "$(seqs -n 1 --from api)" 3 'the last one of a home'
eq "$(rrm log web | wc -l)" 4 'lines of text'
eq "$(rrm log web | head -n 1)" '2026-11-22T17:40:01.000Z  #1 write a.c 3 bytes  by sh(7) of api  ok' 'a line of text'
eq "$(rrm log --json | jq -r '[.[].seq] | join(" ")')" '1 2 3 4' 'of all repos'
check rrm log web --verify >/dev/null
eq "$(rrm log web --verify --json | jq -c '.[0] | [.ok, .records]')" '[true,4]' 'the verdict'

# following: what is there, then what comes, also behind a rotation
rrm log web -f -n 1 --json >"$T/x/followed" &
pid=$!
wait_until '[ "$(wc -l <"$T/x/followed")" = 1 ]'
record e.c ''
wait_until '[ "$(wc -l <"$T/x/followed")" = 2 ]'
record f.c ''
mv "$log" "${log%.jsonl}.6.jsonl"
record g.c ''
wait_until '[ "$(wc -l <"$T/x/followed")" = 4 ]'
kill "$pid"
wait "$pid" || true
eq "$(jq -r .seq "$T/x/followed" | paste -sd' ')" '4 5 6 7' 'what was followed'

# a damaged line is passed by and said; --verify names it
echo '{"seq":8,' >>"$log"
record h.c ''
eq "$(status_of rrm log web --json)" 0 'status with a damaged line'
eq "$(jq length "$T/x/out")" 8 'records around it'
grep -q 'audit.jsonl, the line at byte' "$T/x/err" || die "not said: $(cat "$T/x/err")"
eq "$(rrm log web -n 1 --json 2>/dev/null | jq '.[0].seq')" 8 'the last one behind it'
eq "$(status_of rrm log web --verify)" 3 'status of the check'
grep -q 'web: audit.jsonl line 2' "$T/x/err" || die "the check said: $(cat "$T/x/err")"
sed -i 's/src.b.c/src\/x.c/' "${log%.jsonl}.2.jsonl"
eq "$(status_of rrm log web --verify)" 3 'status after a change'
grep -q 'web: audit.jsonl line\|web: audit.6.jsonl line 1' "$T/x/err" || die "the check said: $(cat "$T/x/err")"

eq "$(status_of rrm log web -n x)" 2 'a bad number'
eq "$(status_of rrm log web --since yesterday)" 2 'a bad time'
eq "$(status_of rrm log web --verify -n 3)" 2 'a bad combination'
