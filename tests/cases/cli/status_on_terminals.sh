#!/bin/sh
# rrm status fits the terminal, whatever the names are: no line is wider, none ends inside a character; colours
# only where they are wanted; plain and whole when piped.
# timeout: 300
. "${0%/*}/../lib.sh"
. "$case_dir/lib_term.sh"

make_repo web
make_repo 日本語のとても長いリポジトリの名前です
make_repo "combining-e$(printf '\314\201')$(printf '\314\201')-and-emoji-🦀🦀🦀🦀"
make_repo a-very-long-name-of-a-repository-that-does-not-fit-anywhere-at-all
git_repo bytes
check rrm add --name "$(printf 'bad\377\376bytes\302\233')" "$R/bytes" >/dev/null
echo x | RRM_BACKEND=embedded check rrm write web/src/日本語のファイル名.txt
rrm stop --all

# fits COLUMNS: every line on standard input, without escapes, is UTF-8 and no wider than that
fits() {
	python3 -c '
import re, sys, unicodedata
text = sys.stdin.buffer.read().decode("utf-8")
assert len(text) > 100, text
for line in re.sub("\033\\[[0-9;]*m", "", text).splitlines():
    cells = sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
    assert cells <= int(sys.argv[1]), (cells, line)
    assert all(c >= " " and not 0x7f <= ord(c) <= 0x9f for c in line), repr(line)' "$1"
}
for columns in 20 40 41 43 80 132; do
	on_terminal "$columns" rrm status >"$T/x/status" || die "status on $columns columns: $(cat "$T/x/status")"
	fits "$columns" <"$T/x/status" || die "on $columns columns"
	on_terminal "$columns" rrm top -b -n 1 | fits "$columns" || die "rrm top on $columns columns"
	on_terminal "$columns" rrm | fits "$columns" || die "rrm alone on $columns columns"
done
escape=$(printf '\033')
on_terminal 80 rrm status | grep -qF "${escape}[" || die 'no colours on a terminal'
for without in NO_COLOR=1 TERM=dumb TERM=; do
	on_terminal 80 env "$without" rrm status >"$T/x/status"
	! grep -qF "$escape" "$T/x/status" || die "colours with $without"
	grep -q '^NAME  *STATE' "$T/x/status" || die "no table with $without"
done
on_terminal 80 env NO_COLOR= rrm status | grep -qF "${escape}[" || die 'an empty NO_COLOR counts'
on_terminal 60 env LC_ALL=C rrm status | grep -q 日本 || die 'no UTF-8 in the C locale'
on_terminal 200 rrm status | grep -q 'src/日本語のファイル名.txt by rrm(' || die 'the last write is not shown'
on_terminal 40 rrm status | grep -q '…' || die 'nothing was cut on 40 columns'
on_terminal 120 rrm status | grep -q '^.*5 repositories, 5 stopped' || die 'no sum'

# piped: plain, whole, one line a repository and its details
rrm status >"$T/x/status"
! grep -qF "$escape" "$T/x/status" || die 'colours in a pipe'
grep -q 'a-very-long-name-of-a-repository-that-does-not-fit-anywhere-at-all  *stopped  *main' "$T/x/status" ||
	die "piped: $(cat "$T/x/status")"
eq "$(rrm status --json | jq length)" 5 'as JSON'

# 100 repositories: as fast and as wide
mkdir "$T/many"
for i in $(seq 100); do
	git init -q "$T/many/repo-$i"
done
check rrm scan "$T/many" >/dev/null
on_terminal 80 rrm status >"$T/x/status"
eq "$(wc -l <"$T/x/status")" 107 'lines of 105 repositories'
fits 80 <"$T/x/status"
