#!/bin/sh
# kill -9 of the server, again and again, while programs inside write and read and another one outside changes the same
# files: what a dead server had not yet told the kernel its successor tells, so nothing is stale.
. "${0%/*}/../lib.sh"
make_repo a
mkdir "$R/a/stress"
start_mount
in_repo a rrm-coherence "$M/a/stress" "$R/a/stress" 8 >"$T/out" 2>&1 &
load=$!
wait_until 'ls "$R/a/stress" | grep -q .'
for i in 1 2 3 4 5 6 7 8 9 10; do
	kill_server
	sleep 0.3
done
st=0
wait "$load" || st=$?
eq "$st" 0 "the stress ($(cat "$T/out"))"
stop_mount
