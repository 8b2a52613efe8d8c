#!/bin/sh
# turns.json, where deadlocks are found, cannot be had for a while: what was to be said there is said later, so that a
# deadlock is still told long before the bound.
# timeout: 180
. "${0%/*}/../lib.sh"
. "$case_dir/lib_under.sh"
write_config '{"lock_timeout_ms": 60000}'
make_repo a
make_repo b
start_mount
check rrm ensure b >/dev/null
check in_repo a mkdir ../b/warm

# busy SECONDS: somebody has the file so long, from now on.
busy() {
	flock "$S/turns.lock" sh -c ': >"$1"; sleep "$2"' sh "$T/busy" "$1" &
	busy=$!
	wait_until "[ -e '$T/busy' ]"
}
soon() {
	rm "$T/busy"
	awk -v a="$went" -v b="$(date +%s.%N)" 'BEGIN { exit b - a > 30 }' || die "$1 far too late"
}

# What rrm lock says of the command that it runs: it is stuck behind the one who waits.
under p b perl -e 'mkdir $ARGV[0] or die $!' "$M/b/by-p"
in_repo a perl -e 'mkdir $ARGV[0] or print $! + 0' "$M/b/never" >"$T/w.out" 2>&1 &
w=$!
wait_until "jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1"
busy 2
go p
check wait "$w"
ended p
check wait "$busy"
soon 'told'
eq "$(cat "$T/w.out") $(cat "$T/p.status")" '35 0' 'errno of who waited (35: EDEADLK), status of the command under the turn'
refuse test -e "$R/b/never"

# What the mount says of a writer: it waits for one turn under another.
under p b rrm lock a -- true
under q a perl -e 'mkdir $ARGV[0] or exit 35' "$M/b/by-q"
busy 2
go q
wait_until "jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1"
check wait "$busy" # q's claim could not be made before
go p
ended p
ended q
soon 'told'
case "$(cat "$T/p.status") $(cat "$T/q.status")" in
'1 0' | '0 35') ;;
*) die "statuses of p and q: $(cat "$T/p.status" "$T/q.status"), '$(cat "$T/p.out" "$T/q.out")'" ;;
esac

# A holder whose claim could not be made when its command began makes it when somebody waits.
wait_until "! [ -e '$(state_dir b)/writer.json' ]" # the waiters are new ones
busy 4
under p b sh -c "sleep 3; mkdir '$M/b/late'"
in_repo a perl -e 'mkdir $ARGV[0] or print $! + 0' "$M/b/never" >"$T/w.out" 2>&1 &
w=$!
wait_until "jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1"
go p
check wait "$w"
ended p
check wait "$busy"
soon 'told'
eq "$(cat "$T/w.out") $(cat "$T/p.status")" '35 0' 'errno of who waited, status of the command under the turn, whose claim came late'

wait_until "! [ -e '$S/turns.json' ]"
stop_mount
