#!/bin/sh
# needs: root
# timeout: 120
# awake_ms: the server asks that processors stay awake while it has many requests, and not before nor after; where
# it would bring nothing, and unless it is configured, never.
. "${0%/*}/../lib.sh"
driver=$(cat /sys/devices/system/cpu/cpuidle/current_driver 2>/dev/null || echo none)
make_repo a

holds() {
	[ -n "$(find "/proc/$(server_pid)/fd" -lname /dev/cpu_dma_latency)" ]
}
# seen: whether it held it at some time while a program writes all the time
seen() {
	in_repo a sh -c 'while [ ! -e stop ]; do rrm-workload write-seq w 4096000 4096; done >/dev/null' &
	writer=$!
	seen_status=1 i=0
	while [ $i -lt 100 ] && [ $seen_status = 1 ]; do
		holds && seen_status=0
		i=$((i + 1))
	done
	touch "$R/a/stop"
	wait "$writer"
	rm "$R/a/stop"
	return $seen_status
}

start_mount
refuse seen
stop_mount
write_config '{"awake_ms":50}'
start_mount
refuse holds
if [ "$driver" = haltpoll ] && [ -w /dev/cpu_dma_latency ]; then
	check seen
	wait_until '! holds'
	# a server that is killed while it holds it leaves nothing behind
	in_repo a sh -c 'while [ ! -e stop ]; do rrm-workload write-seq w 4096000 4096; done >/dev/null' &
	writer=$!
	wait_until holds
	kill_server
	touch "$R/a/stop"
	check wait "$writer"
	wait_until '! holds'
else
	refuse seen
fi
stop_mount
