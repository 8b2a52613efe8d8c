#!/bin/sh
# needs: root
# not: distro (its libfuse asks more)
# timeout: 180
# What one change costs: FUSE requests, exactly, and system calls of rrm-mount on the repository's files, at most; of a
# foreign one, the system calls of the gateway, too.
# When one of them grows, so does the time of every change. (Reads: warm_reads_make_no_request.sh.)
. "${0%/*}/../lib.sh"
# one thread reads: counts do not depend on the number of processors; a turn ends no sooner than a record
write_config '{"transport":"dev","linger_ms":100}'
make_repo a
make_repo b
n=100
start_mount
server=$(server_pid)

# traced CMD...: runs CMD at home in a; the requests of that are in $T/requests, one line `NAME COUNT` each, and
# the system calls that name a file of a repository in $T/calls, likewise.
# more: of each call, for as often as something ended because its time was over.
traced() {
	rm -f "$T/trace"
	strace -f -y -s 0 -o "$T/trace" -p "$server" >/dev/null 2>"$T/strace.err" &
	tracer=$!
	# every thread of it
	wait_until '! grep -qs "^TracerPid:.0$" "/proc/$server"/task/*/status'
	fuse_requests >"$T/before"
	begun=$(date +%s%3N)
	in_repo a "$@" >/dev/null
	# a write descriptor that is not used for 20 ms is closed and opened again
	more=$((($(date +%s%3N) - begun) / 20))
	fuse_requests >"$T/after"
	kill -INT "$tracer"
	wait "$tracer" || true
	jq -nr --slurpfile a "$T/before" --slurpfile b "$T/after" \
		'$b[0] | to_entries[] | "\(.key) \(.value - ($a[0][.key] // 0))"' >"$T/requests"
	# A line that another thread cut in two counts once; /proc and HEAD are looked at by the clock.
	sed -n 's/^[0-9]* *//; / resumed>/d; /\/\.git\/HEAD/d; s|^\([a-z0-9_]*\)(.*/r/[ab]/.*|\1|p' "$T/trace" |
		sort | uniq -c | awk '{ print $2, $1 }' >"$T/calls"
}

# costs WHAT 'REQUESTS' 'CALLS': each `NAME=COUNT` of one change; what is not listed may not be there.
costs() {
	awk -v what="$1" -v n="$n" -v more="$more" -v req="$2" -v calls="$3" '
	function limits(text, to,    list, m, i, kv) {
		m = split(text, list, " ")
		for (i = 1; i <= m; i++) { split(list[i], kv, "="); to[kv[1]] = kv[2] }
	}
	BEGIN { limits(req, r); limits(calls, c) }
	FILENAME ~ /requests$/ {
		got = got " " $1 "=" $2 / n
		# reading the counters and the walk to the directory: a few
		if ($2 > r[$1] * n + 15 || (r[$1] && $1 != "FORGET" && $2 < r[$1] * n)) bad = bad " " $1
		next
	}
	{
		got = got " " $1 "=" $2 / n
		if ($2 > c[$1] * n + 30 + more) bad = bad " " $1
	}
	END {
		if (bad) print what " costs" got "; wrong:" bad
	}' "$T/requests" "$T/calls" >"$T/said"
	[ ! -s "$T/said" ] || die "$(cat "$T/said")"
}

# The kernel asks for the attributes of a directory after each change in it: GETATTR.
in_repo a mkdir d
traced rrm-workload create d $n 4096
costs 'create, write 4 KiB, close' 'LOOKUP=1 CREATE=1 GETXATTR=1 WRITE=1 GETATTR=1' 'openat=2 statx=6 close=1 fgetxattr=1 pwritev2=1'
in_repo a touch w
traced rrm-workload write-seq w $((n * 4096)) 4096
costs 'write of 4 KiB' 'WRITE=1' 'pwritev2=1 statx=3'
traced rrm-workload remove d $n
costs 'unlink' 'UNLINK=1 GETATTR=1 FORGET=1' 'unlinkat=1 openat=1 statx=3 close=1'
in_repo a rrm-workload create d $n 10 >/dev/null
traced python3 -c "
import os
for i in range($n): os.rename('d/f%d' % i, 'd/g%d' % i)"
costs 'rename' 'LOOKUP=1 RENAME=1 GETATTR=1' 'openat=1 renameat=1 renameat2=1 statx=6 close=1'
traced python3 -c "
import os
for i in range($n): os.mkdir('d/d%d' % i)"
costs 'mkdir' 'LOOKUP=1 MKDIR=1 GETATTR=1' 'mkdirat=1 openat=2 statx=5'
traced python3 -c "
import os
for i in range($n): os.rmdir('d/d%d' % i)"
costs 'rmdir' 'RMDIR=1 GETATTR=1 FORGET=1' 'unlinkat=1 close=1 statx=2'
traced python3 -c "
import os
for i in range($n): os.chmod('d/g%d' % i, 0o600)"
costs 'chmod' 'SETATTR=1' 'openat=1 statx=4'
in_repo a sh -c 'echo x >../b/w'
traced python3 -c "
import os
fd = os.open('../b/w', os.O_WRONLY)
for i in range($n): os.pwrite(fd, b'x' * 1024, i * 1024)"
costs 'foreign write of 1 KiB' 'WRITE=1' 'statx=1'

# gateway_costs WHAT 'CALLS' CMD...: as costs, all system calls of b's gateway but those that depend on time (it looks
# for more before it sleeps).
gateway=$(jq .pid "$(state_dir b)/registry.json")
# Waiting and memory are not counted: how often depends on the machine and on the sanitizer.
gateway_costs() {
	gc_what=$1
	gc_calls=$2
	shift 2
	rm -f "$T/trace"
	strace -f -o "$T/trace" -p "$gateway" >/dev/null 2>"$T/strace.err" &
	tracer=$!
	wait_until '! grep -qs "^TracerPid:.0$" "/proc/$gateway"/task/*/status'
	begun=$(date +%s%3N)
	in_repo a "$@" >/dev/null
	# a record ends when nothing came for 100 ms; the next one, with what it keeps, costs up to three of a kind
	more=$((($(date +%s%3N) - begun) * 3 / 100))
	kill -INT "$tracer"
	wait "$tracer" || true
	: >"$T/requests"
	sed -n 's/^[0-9]* *//; s/^\([a-z0-9_]*\)(.*/\1/p' "$T/trace" | grep -vx -e sched_yield -e select -e pselect6 \
		-e futex -e fdatasync -e brk -e mmap -e munmap -e madvise -e restart_syscall -e clock_nanosleep |
		sort | uniq -c | awk '{ print $2, $1 }' >"$T/calls"
	costs "$gc_what at the gateway" '' "$gc_calls"
}
gateway_costs 'foreign write of 1 KiB' 'recvfrom=2 openat2=1 newfstatat=2 fstat=2 pwrite64=1 close=1 sendmsg=1' python3 -c "
import os
fd = os.open('../b/w', os.O_WRONLY)
for i in range($n): os.pwrite(fd, b'x' * 1024, i * 1024)"
gateway_costs 'foreign mkdir' 'recvfrom=2 openat2=1 fcntl=1 newfstatat=3 geteuid=1 setfsgid=2 setfsuid=2 mkdirat=1 pwrite64=1 close=1 sendmsg=1' \
	python3 -c "
import os
for i in range($n): os.mkdir('../b/src/d%d' % i)"
gateway_costs 'foreign unlink' 'recvfrom=2 openat2=2 newfstatat=4 fstat=2 pread64=1 flistxattr=1 unlinkat=1 pwrite64=2 close=2 sendmsg=1' \
	python3 -c "
import os
for i in range($n): open('$R/b/src/u%d' % i, 'w').write('x')
for i in range($n): os.unlink('../b/src/u%d' % i)"
stop_mount
