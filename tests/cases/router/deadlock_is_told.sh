#!/bin/sh
# Commands that hold write turns and wait for each other's: the last one is told at once (EDEADLK) with who holds
# what; a mere wait, however long, is none. A command uses all turns that were taken above it.
# timeout: 180
. "${0%/*}/../lib.sh"
. "$case_dir/lib_under.sh"
write_config '{"lock_timeout_ms": 60000}'
make_repo a
make_repo b
make_repo c
start_mount
check rrm ensure a >/dev/null
check rrm ensure b >/dev/null
check in_repo c mkdir ../a/warm ../b/warm

# told NAME WORDS...
told() {
	told=$1
	shift
	for w; do
		grep -qF -e "$w" "$T/$told.out" || die "$told said '$(cat "$T/$told.out")', not '$w'"
	done
}
ms() {
	echo $(($(date +%s%N) / 1000000))
}

# Two.
under p a rrm lock b -- true
under q b rrm lock a -- true
go p
waits_for b
begun=$(ms)
go q
ended q
took=$(($(ms) - begun))
ended p
eq "$(cat "$T/q.status") $(cat "$T/p.status")" '1 0' 'the newest and the other'
told q 'would never come' 'has that of a' 'has that of b, and you work under it' 'nothing was changed'
[ "$took" -le 10000 ] || die "told after $took ms"
echo "two: told after $took ms, start of the programs with it"

# Three, with the plugin's kind of waiting in between: a write through the mount and one without it.
under p a rrm lock b -- true
under q b setsid -w sh -c "cd '$M/b' && mkdir ../c/made"
# shellcheck disable=SC2016
under r c sh -c 'echo text | rrm write a/text'
go p
waits_for b
go q
waits_for c
go r
ended r
ended q
ended p
eq "$(cat "$T/r.status") $(cat "$T/q.status") $(cat "$T/p.status")" '1 0 0' 'three'
told r 'would never come'
refuse test -e "$R/a/text"
check test -d "$R/c/made"

# The write through the mount is the newest: its errno, and the sentence in errors.
circle a ../b/never
told q 'deadlock'
eq "$(cat "$T/p.status")" 0 'who waited longer'
grep 'EDEADLK' "$M/.rrm/errors" | grep -q 'would never come' || die "errors: $(cat "$M/.rrm/errors")"
refuse test -e "$R/b/never"

# At home, too.
circle b never
told q 'deadlock'

# All branches under the turn of one.
eq "$(status_of rrm lock a -- rrm lock --all a -- true)" 1 'all branches under one'
grep -q 'would never come' "$T/x/err" || die "said: $(cat "$T/x/err")"

# A mere wait: who holds a waits for b, whose holder waits for nobody, and ends when it likes.
under p a rrm lock b --timeout 60 -- true
under q b true
go p
waits_for b
under r c rrm lock b --timeout 1 -- true
go r
ended r
eq "$(cat "$T/r.status")" 124 'a wait with a bound'
eq "$(status_of rrm lock a --timeout 1 -- true)" 124 'one who holds nothing'
go q
ended q
ended p
eq "$(cat "$T/q.status") $(cat "$T/p.status")" '0 0' 'a long wait'

# Turns in one another: both are there for a command, and for what it runs, and none is taken twice.
# shellcheck disable=SC2016
timeout 100 rrm lock a -- rrm lock b -- setsid -w sh -c '
	cd "$1/c" && mkdir ../a/both ../b/both && echo x | rrm write a/w && echo x | rrm write b/w &&
	rrm lock a -- sh -c "echo x | rrm write b/w2 && cd '"'$M/a'"' && mkdir at-home ../b/again" &&
	[ "$(echo "$RRM_TURN" | wc -w)" = 2 ]' sh "$M" || die 'a command under two turns'
for f in a/both b/both a/w b/w b/w2 a/at-home b/again; do
	[ -e "$R/$f" ] || die "$f was not made"
done
# shellcheck disable=SC2016
eq "$(status_of rrm lock a -- sh -c 'i=0; f() { i=$((i + 1)); rrm lock a --branch "b$i" -- "$@"; }
	f rrm lock a --branch b2 -- rrm lock a --branch b3 -- rrm lock a --branch b4 -- rrm lock a --branch b5 -- \
	rrm lock a --branch b6 -- rrm lock a --branch b7 -- rrm lock a --branch b8 -- true')" 1 'nine deep'
grep -q 'more than 8' "$T/x/err" || die "said: $(cat "$T/x/err")"

wait_until "! [ -e '$S/turns.json' ]"
stop_mount
