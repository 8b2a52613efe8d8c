#!/bin/sh
# needs: root
# timeout: 120
# awake_ms: the server asks that processors stay awake while it has many requests, and not before nor after; where
# it would bring nothing, and with 0, never.
. "${0%/*}/../lib.sh"
driver=$(cat /sys/devices/system/cpu/cpuidle/current_driver 2>/dev/null || echo none)
make_repo a

holds() {
	[ -n "$(find "/proc/$(server_pid)/fd" -lname /dev/cpu_dma_latency)" ]
}
# writes: a program writes all the time, until written, and has begun to
writes() {
	asked=$(jq '.requests.WRITE // 0' "$M/.rrm/stats")
	in_repo a sh -c 'while [ ! -e "$0" ]; do rrm-workload write-seq w 4096000 4096; done >/dev/null' "$T/stop" &
	writer=$!
	wait_until "[ \"\$(jq '.requests.WRITE // 0' '$M/.rrm/stats')\" -gt $((asked + 1000)) ]"
}
written() {
	touch "$T/stop"
	check wait "$writer"
	rm "$T/stop"
}
never_holds() {
	writes
	i=0
	while [ $i -lt 100 ]; do
		refuse holds
		i=$((i + 1))
	done
	written
}

write_config '{"awake_ms":0}'
start_mount
never_holds
stop_mount
write_config '{"awake_ms":50}'
start_mount
refuse holds
if [ "$driver" = haltpoll ] && [ -w /dev/cpu_dma_latency ]; then
	writes
	wait_until holds
	written
	wait_until '! holds'
	# a server that is killed while it holds it leaves nothing behind
	writes
	wait_until holds
	kill_server
	written
	wait_until '! holds'
else
	never_holds
fi
stop_mount
