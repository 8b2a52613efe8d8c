#!/bin/sh
# The turn of a branch: another branch, a detached HEAD and a linked worktree have their own; a log that is written
# at home all the time keeps nobody out; a waiter that is interrupted ends at once; a dead holder has no turn; twenty
# writers of one branch write about as often as each other.
# timeout: 240
. "${0%/*}/../lib.sh"
write_config '{"lock_timeout_ms": 60000, "max_turn_ms": 300}'
make_repo a
make_repo b
git -C "$R/b" branch other
git -C "$R/b" worktree add -q "$R/tree" -b tree
check rrm add --name tree "$R/tree" >/dev/null
start_mount
check in_repo a mkdir ../b/warm ../tree/warm

# hold ARGS...: rrm lock with them, until $T/go; $holder
hold() {
	rm -f "$T/held" "$T/go"
	# shellcheck disable=SC2016
	rrm lock "$@" -- sh -c ': >"$1/held"; while ! [ -e "$1/go" ]; do sleep 0.01; done' sh "$T" &
	holder=$!
	wait_until '[ -e "$T/held" ]'
}
let_go() {
	: >"$T/go"
	wait "$holder" || true
}

# A linked worktree and another branch are other turns; HEAD that moves takes the waiter along.
hold b
check timeout 30 setsid -w sh -c "cd '$M/a' && mkdir ../tree/beside"
in_repo a mkdir ../b/waits &
waiter=$!
wait_until "jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1"
refuse test -e "$R/b/waits"
git -C "$R/b" checkout -q other
check wait "$waiter"
check test -d "$R/b/waits"
let_go

# Detached: the commit is the branch.
git -C "$R/b" checkout -q --detach
hold b --branch main
check in_repo a mkdir ../b/detached
let_go
hold b
in_repo a mkdir ../b/detached-too &
waiter=$!
wait_until "jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1"
refuse test -e "$R/b/detached-too"
let_go
check wait "$waiter"
wait_until "[ \"\$(audit_count b '.path == \"detached-too\"')\" = 1 ]"
eq "$(audit b 'select(.path == "detached-too") | .branch')" "$(git -C "$R/b" rev-parse HEAD)" 'branch in the audit'
git -C "$R/b" checkout -q main

# HEAD moves to a branch that somebody else holds, while the command under a lock writes, and back: it goes on.
hold b --branch other
rrm lock b -- sh -c "git -C '$R/b' checkout -q other; sleep 0.1; cd '$M/a' && mkdir ../b/under" &
under=$!
wait_until "jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1"
git -C "$R/b" checkout -q main
wait_until '[ -d "$R/b/under" ]' 30
check wait "$under"
let_go

# Interrupted: it ends although the turn is not free, and does nothing.
hold b
setsid perl -e "chdir '$M/a'; \$SIG{INT} = sub { }; mkdir '../b/never' or do { my \$e = 0 + \$!; open(my \$f, '>', '$T/x/errno'); print \$f \$e; close \$f; rename '$T/x/errno', '$T/x/errno.is' }" &
waiter=$!
wait_until "jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1"
wait_until "kill -INT $waiter 2>/dev/null; [ -e '$T/x/errno.is' ]"
eq "$(cat "$T/x/errno.is")" 4 'EINTR'
wait "$waiter" || true
# The holder dies: who waits goes on.
in_repo a mkdir ../b/after-death &
waiter=$!
wait_until "jq -e '.waiters | length > 0' '$(state_dir b)/writer.json' >/dev/null 2>&1"
kill -9 "$holder"
check wait "$waiter"
: >"$T/go"
wait "$holder" || true
refuse test -e "$R/b/never"

# A log at home.
in_repo b perl -e 'until (-e $ARGV[0]) { open(my $f, ">>", "log") or die $!; syswrite($f, "line\n") or die $!; close $f }' "$T/x/stop" &
log=$!
wait_until '[ -s "$R/b/log" ]'
for i in 1 2 3 4 5; do
	check timeout 60 setsid -w sh -c "cd '$M/a' && mkdir ../b/during-$i"
done
: >"$T/x/stop"
check wait "$log"

# Twenty, who begin together and go on until all of them have written 300 times. Counted, not timed: who is stopped
# for a second by a busy machine writes a few times less. The pause is longer than linger_ms: one write a turn.
jobs=
mkdir "$T/x/twenty"
: >"$T/x/twenty/wrote"
for i in $(seq 20); do
	from=a
	[ $((i % 4)) != 0 ] || from=b
	: >"$R/b/t$i"
	in_repo "$from" perl -e 'my ($dir, $me, $file) = @ARGV;
		open(my $wrote, ">>", "$dir/wrote") or die $!;
		open(my $r, ">", "$dir/ready.$me") or die $!;
		until (-e "$dir/go") { select(undef, undef, undef, 0.01) }
		while (-s $wrote < 300 * 3) { open(my $f, "+<", $file) or die $!; syswrite($f, "x") or die $!; close $f; syswrite($wrote, sprintf("%02d\n", $me)); select(undef, undef, undef, 0.03) }' \
		"$T/x/twenty" "$i" "$M/b/t$i" &
	jobs="$jobs $!"
done
wait_until '[ "$(find "$T/x/twenty" -name "ready.*" | wc -l)" = 20 ]' 60
: >"$T/x/twenty/go"
for j in $jobs; do
	check wait "$j"
done
awk '{ n[$1]++ } END { least = NR; for (w in n) { k++; if (n[w] < least) least = n[w]; if (n[w] > most) most = n[w] }
	printf "%d writers, %d writes: each %d to %d\n", k, NR, least, most
	exit k != 20 || 3 * 20 * least < NR || 20 * most > 3 * NR }' "$T/x/twenty/wrote" ||
	die 'one of twenty wrote less than a third of the average, or more than 3 times it'
stop_mount
