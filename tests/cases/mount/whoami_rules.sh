#!/bin/sh
# Whose process is this: the topmost ancestor with its directory in the mount; a session of rrm run;
# else nobody.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
a=$(repo_id a)
b=$(repo_id b)
who() {
	jq -r '"\(.rule) \(.home)"' "$M/.rrm/whoami"
}
eq "$(who)" '3 null' 'a process outside of the mount'
eq "$(in_repo a jq -r '"\(.rule) \(.home)"' "$M/.rrm/whoami")" "2 $a" 'a shell in a'
eq "$(in_repo a sh -c 'cd ../b/src && jq -r "\"\(.rule) \(.home)\"" ../../.rrm/whoami')" "2 $b" \
	'a shell that walked from a to b'
eq "$(in_repo a sh -c '(cd ../b && jq -r "\"\(.rule) \(.home)\"" ../.rrm/whoami); :')" "2 $a" \
	'a child that went to b, its parent in a'
eq "$(in_repo a/src/deep sh -c 'jq -r .home '"$M/.rrm/whoami")" "$a" 'deep in a'
eq "$(rrm run b -- jq -r '"\(.rule) \(.home)"' "$M/.rrm/whoami")" "1 $b" 'rrm run'
eq "$(rrm run b -- sh -c "cd '$M/a' && jq -r '.home' '$M/.rrm/whoami'")" "$b" 'rrm run, gone to a'
rrm run b -- jq -r .session "$M/.rrm/whoami" | grep -q '^run-' || die 'no session of rrm run'
[ "$(jq .pid "$M/.rrm/whoami")" -gt 0 ] || die 'no pid'

# Processes of all kinds.
say_who='jq -r "\"\(.rule) \(.home)\"" "$0/.rrm/whoami"'
eq "$(in_repo a setsid -w sh -c "$say_who" "$M")" "2 $a" 'in a session of its own'
eq "$(in_repo a nohup sh -c "$say_who" "$M" 2>/dev/null)" "2 $a" 'under nohup'
in_repo a sh -c "(sleep 0.1; $say_who >'$T/x/orphan.new'; mv '$T/x/orphan.new' '$T/x/orphan') & exit 0" "$M"
wait_until "[ -e '$T/x/orphan' ]"
eq "$(cat "$T/x/orphan")" "2 $a" 'reparented, its directory in a'
rrm run b -- sh -c "(cd / && exec setsid sh -c 'sleep 0.2; jq -r \".rule, .home\" \"\$0/.rrm/whoami\" >\"\$1.new\"; mv \"\$1.new\" \"\$1\"' '$M' '$T/x/run') & exit 0"
wait_until "[ -e '$T/x/run' ]"
eq "$(paste -sd" " "$T/x/run")" "1 $b" 'reparented, of rrm run, by its environment'
eq "$(env -i PATH="$PATH" setsid -w sh -c "cd / && $say_who" "$M")" '3 null' 'without a home, as under cron'
in_repo a python3 -c "
import threading
def f():
    open('../b/by-a-thread', 'w').write('x')
t = threading.Thread(target=f); t.start(); t.join()"
in_repo a perl -e 'open(my $f, ">", "../b/gone") or die $!; syswrite($f, "x") or die $!; kill 9, $$' || true
if [ "$(id -u)" = 0 ]; then
	# Its pid is not ours, as it sees it; its parent is.
	in_repo a unshare -p -f sh -c 'echo x >../b/by-another-namespace'
	wait_until "[ \"\$(audit_count b '.path == \"by-another-namespace\"')\" -ge 1 ]"
	eq "$(audit b 'select(.path == "by-another-namespace") | .actor.home' | sort -u)" "$a" 'from another pid namespace'
	# Its pid is nothing to us at all: the kernel says 0.
	# shellcheck disable=SC2016
	in_repo a unshare -p -f --mount-proc sh -c 'exec setsid -w sh -c "echo x >../b/deeper"'
	wait_until "[ \"\$(audit_count b '.path == \"deeper\"')\" -ge 1 ]"
	# One pid, two processes: the first at home in a, the second in b.
	in_repo a sh -c 'echo x >../b/first-of-pid; echo $$ >"$0"' "$T/x/pid"
	pid=$(cat "$T/x/pid")
	# shellcheck disable=SC2016
	perl -MPOSIX -e 'my ($pid, $dir) = @ARGV;
		for (1 .. 2000) {
			open(my $l, ">", "/proc/sys/kernel/ns_last_pid") or die $!; syswrite($l, $pid - 1); close $l;
			my $c = fork; die $! unless defined $c;
			if ($c == 0) { exit 1 if $$ != $pid; POSIX::setsid(); chdir $dir or die; open(my $f, ">", "second-of-pid") or die $!; exit 0 }
			waitpid($c, 0); exit 0 if $c == $pid;
		}
		die "pid $pid was not to be had"' "$pid" "$M/b" || die 'the pid was not given again'
	wait_until "grep -q second-of-pid '$(state_dir b)/home.jsonl' 2>/dev/null"
	wait_until "[ \"\$(audit_count b '.path == \"first-of-pid\"')\" -ge 1 ]"
	eq "$(audit b 'select(.path == "first-of-pid") | .actor.home' | sort -u)" "$a" 'the first of a pid'
	eq "$(audit_count b '.path == "second-of-pid"')" 0 'the second of a pid is at home, and foreign it was not'
fi
wait_until "[ \"\$(audit_count b '.path == \"gone\"')\" -ge 1 ]"
for f in by-a-thread gone; do
	eq "$(audit b "select(.path == \"$f\") | .actor.home" | sort -u)" "$a" "home of who made $f"
done
stop_mount
