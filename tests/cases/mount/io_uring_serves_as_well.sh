#!/bin/sh
# not: distro
# timeout: 400
# With requests through io_uring the cases that are hardest on the order of requests hold too, and so does what a
# mount promises when it ends. Where it cannot be had `transport` says so, and `auto` goes without.
. "${0%/*}/../lib.sh"
switch=/sys/module/fuse/parameters/enable_uring
make_repo a
make_repo b
said=$(cat "$switch" 2>/dev/null || echo none)

write_config '{"transport":"ring"}'
fails_with '"transport" must be "auto", "dev" or "uring"' rrm-mount "$M"
write_config '{}'
if [ "$said" != Y ]; then
	RRM_TRANSPORT=uring fails_with 'requests cannot come through io_uring' rrm-mount "$M"
	export RRM_TRANSPORT=auto
	start_mount
	eq "$(jq -r .transport "$M/.rrm/stats")" dev 'the transport where there is no other'
	stop_mount
fi
# Only root may switch it on, and only a kernel that has it.
if [ "$said" = none ] || { [ "$said" != Y ] && [ "$(id -u)" != 0 ]; }; then
	exit 0
fi
back() {
	back_status=$?
	set +e
	[ "$said" = Y ] || echo "$said" >"$switch"
	(exit "$back_status")
	case_end
}
trap back EXIT
# What begins without it goes on without it, also when a server dies after it was switched on.
if [ "$said" != Y ]; then
	start_mount
	echo Y >"$switch"
	kill_server
	eq "$(jq -r .transport "$M/.rrm/stats")" dev 'the transport of a successor'
	check in_repo a sh -c 'echo after >after && cat after README.md >/dev/null'
	kill_server
	stop_mount
fi

unset RRM_TRANSPORT
start_mount
eq "$(jq -r .transport "$M/.rrm/stats")" dev 'the transport that nobody asked for'
stop_mount
export RRM_TRANSPORT=auto
start_mount
eq "$(jq -r .transport "$M/.rrm/stats")" uring 'the transport where root allowed it'
fails_with 'with io_uring nobody can go on with a mount' rrm-mount --reexec "$M"
# More requests that wait at once than there are buffers in the beginning: who waits for a turn keeps his.
check in_repo a sh -c 'i=0; while [ $i -lt 40 ]; do echo $i >"w$i"; i=$((i + 1)); done'
rrm lock a -- sh -c "touch '$T/locked'; while [ ! -e '$T/go' ]; do sleep 0.02; done" &
wait_until '[ -e "$T/locked" ]'
in_repo a sh -c 'i=0; while [ $i -lt 40 ]; do echo x >>"w$i" & i=$((i + 1)); done; wait' &
writers=$!
wait_until '[ "$(jq .requests.WRITE "$M/.rrm/stats")" -ge 80 ]'
# readers of other files go on (the kernel keeps the page that is being written), on every processor
check in_repo a sh -c 'cat src/deep/* >/dev/null; ls -lR >/dev/null; git --no-optional-locks status >/dev/null'
for cpu in $(seq 0 $(($(nproc) - 1))); do
	eq "$(taskset -c "$cpu" stat -c %s "$M/a/README.md" "$M/a/none$cpu" 2>/dev/null)" 4 "a reader on processor $cpu"
done
touch "$T/go"
check wait "$writers"
eq "$(cat "$R"/a/w* | grep -c x)" 40 'lines of those who waited'
# Who asks alone is answered by the thread that gets his request, also after many waited at once on his processor: it
# sleeps once for each.
rm "$T/locked" "$T/go"
rrm lock a -- sh -c "touch '$T/locked'; while [ ! -e '$T/go' ]; do sleep 0.02; done" &
wait_until '[ -e "$T/locked" ]'
in_repo a taskset -c 0 sh -c 'i=0; while [ $i -lt 12 ]; do echo x >>"w$i" & i=$((i + 1)); done; wait' &
writers=$!
wait_until '[ "$(jq .requests.WRITE "$M/.rrm/stats")" -ge 92 ]'
touch "$T/go"
check wait "$writers"
# The threads with a ring wait in io_uring_enter(2), number 426; how often others sleep depends on the time.
rings=$(grep -l '^426 ' "/proc/$(server_pid)"/task/*/syscall | sed 's/syscall$/status/')
[ "$(echo "$rings" | wc -l)" -ge "$(nproc)" ] || die "the threads with a ring: $rings"
# They are kept on a processor each; what they start is not: threads of the server, and a backend, which runs for hours.
check in_repo a sh -c 'echo f >../b/foreign && sync ../b/foreign w0'
kept_of() {
	grep -L "^Cpus_allowed_list:[[:space:]]*$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)\$" \
		"/proc/$1"/task/*/status | sort
}
if [ "$(nproc)" -gt 1 ]; then
	eq "$(kept_of "$(server_pid)")" "$(echo "$rings" | sort)" 'threads of the server that are kept on a processor'
	eq "$(kept_of "$(jq .pid "$(state_dir b)/registry.json")")" '' "threads of b's backend that are"
fi
slept() {
	# shellcheck disable=SC2086 # a list of files
	cat $rings | awk '/^voluntary/ { n += $2 } END { print n }'
}
n=4096
before=$(slept)
in_repo a taskset -c 0 rrm-workload write-seq w0 $((n * 4096)) 4096 >/dev/null
after=$(slept)
[ $((after - before)) -le $((n * 8 / 5)) ] || die "$n writes made its threads sleep $((after - before)) times"
stop_mount

# A server that is killed ends the mount, and nobody hangs: not who waits for his turn either.
start_mount
rm "$T/locked" "$T/go"
rrm lock a -- sh -c "touch '$T/locked'; while [ ! -e '$T/go' ]; do sleep 0.02; done" &
wait_until '[ -e "$T/locked" ]'
in_repo a sh -c 'echo late >>w0' 2>"$T/late" &
late=$!
wait_until '[ "$(jq .requests.WRITE "$M/.rrm/stats")" -ge 1 ]'
kill -9 "$(server_pid)"
wait_until "! kill -0 $mount_pid 2>/dev/null" 30
refuse wait "$mount_pid"
mount_pid=
refuse mounted
wait_until "! kill -0 $late 2>/dev/null" 30
touch "$T/go"

for other in coherence_stress read_your_own_writes shared_mmap_is_written_back sqlite_at_home warm_reads_make_no_request \
	descriptors_stay_bounded killed_waiter_never_writes sigterm_unmounts sigterm_with_waiting_writers foreign_data; do
	env -u RRM_CASE_DIR RRM_TRANSPORT=uring sh "$case_dir/$other.sh" >"$T/other.log" 2>&1 ||
		die "$other with io_uring: $(tail -n 20 "$T/other.log")"
done
