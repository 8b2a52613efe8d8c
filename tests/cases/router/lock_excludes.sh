#!/bin/sh
# rrm lock holds the turn against other commands; its own children need none; a dead holder frees it.
. "${0%/*}/../lib.sh"
write_config '{"lock_timeout_ms": 300}'
make_repo a
check rrm ensure a >/dev/null
rrm lock a -- sh -c ": >'$T/held'; while ! [ -e '$T/release' ]; do sleep 0.02; done; exit 5" &
holder=$!
wait_until '[ -e "$T/held" ]'
eq "$(status_of rrm write a/x)" 124 'a write while the turn is held'
grep -q "has it" "$T/x/err" || die "said: $(cat "$T/x/err")"
grep -q 'sh pid' "$T/x/err" || die "does not say who: $(cat "$T/x/err")"
eq "$(status_of rrm lock a --timeout 0 -- true)" 124 'a second holder'
eq "$(status_of rrm lock a --branch topic --timeout 0 -- true)" 0 'another branch'
eq "$(status_of rrm lock a --all --timeout 0 -- true)" 124 'all branches'
refuse test -e "$R/a/x"
eq "$(jq -r .holder.comm "$(state_dir a)/writer.json")" sh 'the holder in writer.json'
: >"$T/release"
st=0
wait "$holder" || st=$?
eq "$st" 5 'status of the command'
refuse test -e "$(state_dir a)/writer.json"

# shellcheck disable=SC2016
check rrm lock a -- sh -c 'echo inside | rrm write a/x && [ "$RRM_TURN" = "$1" ]' sh "$(repo_id a)"
eq "$(cat "$R/a/x")" inside 'a write of the holder itself'

rm -f "$T/held"
setsid rrm lock a -- sh -c ": >'$T/held'; exec sleep 60" &
holder=$!
wait_until '[ -e "$T/held" ]'
child=$(pgrep -P "$holder")
kill -9 "$holder"
wait "$holder" || true
eq "$(status_of rrm lock a --timeout 1 -- true)" 0 'after the holder was killed'
kill "$child"

eq "$(status_of rrm lock a -- sh -c 'kill -TERM $$')" 143 'a command that was killed'
eq "$(status_of rrm lock a -- no-such-command-here)" 127 'a missing command'
eq "$(status_of rrm lock a)" 2 'no command'
eq "$(status_of rrm lock a --timeout x -- true)" 2 'no number'
check rrm stop --all >/dev/null
