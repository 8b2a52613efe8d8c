#!/bin/sh
# stop ends the backend and clears what only a running one has; not running is success; --all stops all.
. "${0%/*}/../lib.sh"
write_config '{"backend":"embedded"}'
# A zombie that init has not reaped yet is gone.
gone() {
	! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"
}
make_repo a
make_repo b
check rrm ensure a >/dev/null
check rrm ensure b >/dev/null
pa=$(jq .pid "$(state_dir a)/registry.json")
pb=$(jq .pid "$(state_dir b)/registry.json")
eq "$(ps -o pgid= -p "$pa" | tr -d ' ')" "$pa" 'its process group'
eq "$(readlink "/proc/$pa/fd/0")" /dev/null 'its stdin'
check rrm stop a
check gone "$pa"
check kill -0 "$pb"
for f in registry.json port gateway.sock; do
	[ ! -e "$(state_dir a)/$f" ] || die "$f is still there"
done
check rrm stop a

# One that is stopped in its tracks does not answer TERM: KILL ends it.
kill -STOP "$pb"
check rrm stop --all
check gone "$pb"
fails_with 'no REPO was given' rrm stop
eq "$(status_of rrm stop)" 2 'the exit status of wrong usage'
fails_with 'nosuch' rrm stop nosuch
fails_with 'nosuch' rrm ensure nosuch
