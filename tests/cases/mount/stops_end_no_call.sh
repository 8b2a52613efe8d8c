#!/bin/sh
# Who waits for the write turn is stopped and goes on (job control; a tracer and a freezer look the same to the
# kernel): its call ends as if nothing had been. A signal that it handles ends it, also after a stop.
. "${0%/*}/../lib.sh"
make_repo a
mkdir "$R/a/stopped" "$R/a/signalled"
start_mount

# waiter NAME: at home in a, makes NAME, in a directory of its own (who waits has the kernel's lock of that); $waiter
# and $pid are its shell and itself
waiter() {
	in_repo a perl -MFcntl -e '
		$SIG{USR1} = sub { };
		open(my $p, ">", "$ARGV[1].pid"); print $p "$$\n"; close($p);
		sysopen(my $f, $ARGV[0], O_WRONLY|O_CREAT) or do { print STDERR "$!\n"; exit 1 };
		exit 0' "$1/new" "$T/$1" 2>"$T/$1.err" &
	waiter=$!
	wait_until "[ -s '$T/$1.pid' ]"
	pid=$(cat "$T/$1.pid")
	# it has asked: it sleeps in the kernel, in an open that is not over
	wait_until "grep -q '^State:.[SD]' /proc/$pid/status && grep -qs '\"path\":\"$1/new\"' '$(state_dir a)/writer.json'"
}

rrm lock a -- sh -c "touch '$T/held'; while [ ! -e '$T/give' ]; do sleep 0.1; done" &
lock=$!
wait_until '[ -e "$T/held" ]'
waiter stopped
kill -STOP "$pid"
sleep 0.5 # longer than a signal has
kill -CONT "$pid"
sleep 0.3
kill -0 "$waiter" || die "a stop ended it: $(cat "$T/stopped.err")"
first=$waiter
waiter signalled
kill -STOP "$pid"
sleep 0.3
kill -USR1 "$pid"
kill -CONT "$pid"
refuse wait "$waiter"
eq "$(cat "$T/signalled.err")" 'Interrupted system call' 'a handled signal after a stop'
refuse test -e "$R/a/signalled/new"
touch "$T/give"
check wait "$lock"
check wait "$first"
check test -e "$R/a/stopped/new"
stop_mount
