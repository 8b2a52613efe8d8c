#!/bin/sh
# Who waits in the mount to change a directory or file keeps the kernel's lock of it. When a command under the turn
# that is waited for needs that lock, the one who waits gets EDEADLK, and the command goes on; where the command needs
# another one, it waits on.
# timeout: 180
. "${0%/*}/../lib.sh"
. "$case_dir/lib_under.sh"
write_config '{"lock_timeout_ms": 60000}'
make_repo a
make_repo b
mkdir "$R/b/other" "$R/b/one" "$R/b/two"
: >"$R/b/f"
: >"$R/b/one/r"
: >"$R/b/two/s"
start_mount
check rrm ensure b >/dev/null
check in_repo a mkdir ../b/warm

# waiter REPO PERL: Perl of somebody at home in REPO, whose errno is in $T/w.out; in line when this returns.
waiter() {
	wait_until "! jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1" # of the last one
	in_repo "$1" perl -MFcntl -MTime::HiRes=time -e "$2 or printf '%d %.3f', \$!, time" >"$T/w.out" 2>&1 &
	w=$!
	wait_until "jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1"
}
# done_well NAME: the command under the turn has worked.
done_well() {
	ended "$1"
	eq "$(cat "$T/$1.status")" 0 "status of $1 under the turn, which said '$(cat "$T/$1.out")'"
}
# both WHAT: the waiter was told (35: EDEADLK), and the command under the turn has worked.
both() {
	check wait "$w"
	told=$(cut -d' ' -f2 "$T/w.out")
	eq "$(cut -d' ' -f1 "$T/w.out")" 35 "errno of who waited: $1"
	done_well "$2"
	echo "$1: told after $(awk -v a="$went" -v b="$told" 'BEGIN { printf "%.0f", (b - a) * 1000 }') ms"
	awk -v a="$went" -v b="$told" 'BEGIN { exit b - a > 20 }' || die 'told far too late'
}

# A name: whoever it is that waits, at home or foreign.
for home in a b; do
	under p b perl -e 'mkdir $ARGV[0] or die $!' "$M/b/by-$home"
	waiter "$home" "mkdir('$M/b/never')"
	go p
	both "mkdir from $home" p
	check test -d "$R/b/by-$home"
	refuse test -e "$R/b/never"
done
grep EDEADLK "$M/.rrm/errors" | grep -q 'keeps locked for you' || die "errors: $(cat "$M/.rrm/errors")"

# A file; by a path that is relative to another directory.
under p b sh -c "cd '$M/b/src/deep' && echo under >>../../f"
waiter a "sysopen(F, '$M/b/f', O_WRONLY) && syswrite(F, 'never')"
go p
both 'write to a file' p
eq "$(cat "$R/b/f")" under 'what the file holds'

# A listing that the kernel does not have.
under p b ls "$M/b/other"
waiter a "mkdir('$M/b/other/never')"
go p
both 'listing of a directory' p

# Renames between directories exclude each other in the whole mount.
under p b mv "$M/b/two/s" "$M/b/src/s"
waiter a "rename('$M/b/one/r', '$M/b/other/r')"
go p
both 'two renames between directories' p
check test -e "$R/b/one/r"
check test -e "$R/b/src/s"

# Longer: under a something reads what who waits for b keeps locked; under b somebody waits for a.
mkdir "$R/b/unread"
under p a ls "$M/b/unread"
under q b rrm lock a -- true
waiter a "mkdir('$M/b/unread/never')"
go q
waits_for a
go p
both 'a circle of two' p
done_well q
refuse test -e "$R/b/unread/never"

# A mere wait: what works under the turn needs nothing that the waiter keeps, and takes its time, also in calls.
# shellcheck disable=SC2016
under p b perl -e 'for (1 .. 150) { mkdir "$ARGV[0]/d$_" or die $!; rmdir "$ARGV[0]/d$_" or die $!; select(undef, undef, undef, 0.01) }' "$M/b/src"
waiter a "mkdir('$M/b/other/at-last')"
go p
check wait "$w"
eq "$(cat "$T/w.out")" '' 'who merely waited'
done_well p
check test -d "$R/b/other/at-last"

wait_until "! [ -e '$S/turns.json' ]"
stop_mount
