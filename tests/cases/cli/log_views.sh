#!/bin/sh
# rrm log --until, --result, --stat; rrm blame; the pager; a clock that goes backwards; no HOME.
. "${0%/*}/../lib.sh"
. "$case_dir/lib_term.sh"
export RRM_BACKEND=embedded

make_repo web
make_repo api
log=$(state_dir web)/audit.jsonl
api=$(repo_id api)
prev=$(printf '0%.0s' $(seq 64))
seq=0
# record SECOND PATH HOME RESULT [WAIT_US]
record() {
	seq=$((seq + 1))
	line=$(printf '{"seq":%d,"ts":"2026-11-22T17:40:%02d.000Z","op":"write","path":"%s","writes":2,"bytes":3,"result":"%s","wait_us":%d,"actor":{"pid":7,"comm":"sh","home":"%s"},"prev":"%s"}' \
		"$seq" "$1" "$2" "$4" "${5-0}" "$3" "$prev")
	printf '%s\n' "$line" >>"$log"
	prev=$(printf %s "$line" | sha256sum | cut -d' ' -f1)
}
seqs() {
	rrm log web --json "$@" | jq -r '[.[].seq] | join(" ")'
}
record 1 a.c "$api" ok 5000
record 2 b.c '' EACCES
record 3 c.c "$api" refused 9000
# the clock goes back by a second: the order of the records stays
record 2 d.c "$api" ok
record 4 e.c '' interrupted
check rrm log web --verify >/dev/null
eq "$(seqs)" '1 2 3 4 5' 'all, in their order'
eq "$(seqs --until 2026-11-22T17:40:02Z)" '1 2 4' '--until'
eq "$(seqs --since 2026-11-22T17:40:02Z --until 2026-11-22T17:40:03Z)" '2 3 4' '--since and --until'
eq "$(seqs --result ok)" '1 4' '--result ok'
eq "$(seqs --result failed)" '2 3 5' '--result failed'
eq "$(seqs --result eacces)" 2 '--result eacces'
eq "$(seqs --result refused --from api)" 3 'two filters'
eq "$(seqs -n 1 --result failed --until 2026-11-22T17:40:03Z)" 3 'the last one of them'
eq "$(rrm log web --stat --json | jq -c '.[] | [.name, (.home // "-" | split("-")[0]), .comm, .records, .writes, .bytes, .failed, .refused, .wait_max_us, .last[17:19]]' | paste -sd' ')" \
	'["web","api","sh",3,6,9,1,1,9000,"03"] ["web","","sh",2,4,6,2,0,0,"04"]' '--stat as JSON'
eq "$(rrm log web --stat --since 2026-11-22T17:40:03Z | awk 'NR > 1 { print $1, $2, $3, $4, $5 }' | paste -sd' ')" \
	'web nobody sh 1 2 web api sh 1 2' '--stat as a table'
eq "$(rrm log --stat | awk 'NR > 1' | wc -l)" 2 '--stat of all'
eq "$(status_of rrm log web --stat -f)" 2 '--stat with -f'
eq "$(status_of rrm log web --verify --result ok)" 2 '--verify with a filter'
eq "$(status_of rrm log web --until soon)" 2 'a bad --until'
fails_with 'neither HOME nor RRM_HOME is set' env -u HOME -u RRM_HOME -u XDG_CONFIG_HOME rrm log
fails_with 'neither HOME nor RRM_HOME is set' env -u HOME -u RRM_HOME -u XDG_CONFIG_HOME rrm status
fails_with 'neither HOME nor RRM_HOME is set' env -u HOME -u RRM_HOME -u XDG_CONFIG_HOME rrm top

# --- blame ------------------------------------------------------------------------------------------
for f in src/one src/two src/gone top; do
	echo 1 | check rrm write "api/$f"
done
echo 2 | check rrm write api/src/two
check rrm rm api/src/gone
check rrm stop api # all of it is recorded
echo 'by hand' >>"$R/api/top"
# last PATH: operation and number of its last record. A slow machine makes several of one write.
last() {
	last_audit api "select(.path == \"$1\") | \"\(.op) \(.seq)\""
}
one=$(last src/one) two=$(last src/two) gone=$(last src/gone) top=$(last top)
{ [ "${gone#* }" -gt "${two#* }" ] && [ "${two#* }" -gt "${top#* }" ] && [ "${top#* }" -gt "${one#* }" ]; } ||
	die "records in another order: $one, $two, $gone, $top"
state_of() {
	rrm blame --json "$1" | jq -r '.[] | [.path, .op, .state, (.seq | tostring)] | join(" ")' | paste -sd,
}
eq "$(state_of api)" "src/gone unlink gone ${gone#* },src/one ${one% *} as written ${one#* },src/two ${two% *} as written ${two#* },top ${top% *} changed since ${top#* }" \
	'of a repository'
eq "$(state_of "$R/api/src/two")" "src/two ${two% *} as written ${two#* }" 'of a file'
eq "$(state_of api/src | tr ',' '\n' | wc -l)" 3 'files of a directory'
rrm blame api/top | grep -q "#${top#* } *${top% *} *rrm([0-9]*) of nobody *changed since *top\$" || die "blame says: $(rrm blame api/top)"
eq "$(rrm blame --json api/README.md)" '[]' 'a file that nobody else wrote'
fails_with "no other repository's session has changed api/README.md" rrm blame api/README.md
fails_with 'nowhere is not a registered repository' rrm blame nowhere
eq "$(status_of rrm blame)" 2 'without a PATH'

# --- the pager --------------------------------------------------------------------------------------
for i in $(seq 100); do
	record 5 "f$i" "$api" ok
done
# never in a pipe, never on a dumb terminal
export RRM_PAGER="tee '$T/x/paged' >/dev/null"
eq "$(rrm log web | wc -l)" 105 'lines in a pipe'
on_terminal 80 env TERM=dumb rrm log web >/dev/null
[ ! -e "$T/x/paged" ] || die 'a pager in a pipe'
on_terminal 80 rrm log web >"$T/x/out"
eq "$(wc -l <"$T/x/paged")" 105 'lines through $RRM_PAGER'
[ ! -s "$T/x/out" ] || die 'lines beside the pager'
eq "$(RRM_PAGER='' on_terminal 80 rrm log web | wc -l)" 105 'lines without a pager'
eq "$(RRM_PAGER=no-such-pager on_terminal 80 rrm log web | wc -l)" 105 'lines with a pager that is not there'
# a reader that has seen enough ends it, with less as with head, also where SIGPIPE is ignored as Python's children have it
for i in 1 2 3 4 5; do
	RRM_PAGER='head -n 3' on_terminal 80 rrm log web >"$T/x/out" || true
	eq "$(wc -l <"$T/x/out")" 3 "lines for a pager that ends, which are $(cat "$T/x/out")"
done
unset RRM_PAGER
# tmux 3.3 does not always reap what has ended in a window: the shell around it says so
term_start pager 80 20 "rrm log web; : >'$T/x/pager.ended'"
sees pager '#1 write a.c'
wait_until 'screen pager | tail -n 1 | grep -q "^:"'
[ ! -e "$T/x/pager.ended" ] || die "less is not there: $(screen pager)"
tm send-keys -t pager G
sees pager 'f100'
tm send-keys -t pager q
wait_until '[ -e "$T/x/pager.ended" ]'
# what fits is just printed
term_start short 80 20 "rrm log web -n 2; : >'$T/x/short.ended'"
wait_until '[ -e "$T/x/short.ended" ]'
sees short 'f100'
