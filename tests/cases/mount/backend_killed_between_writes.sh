#!/bin/sh
# kill -9 of the owner's backend between two writes, and its gateway's: the next write brings it back and
# lands; no record is lost or doubled.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
for i in $(seq 6); do
	check in_repo a sh -c "echo $i >../b/f$i"
	eq "$(cat "$R/b/f$i")" "$i" "write $i"
	pid=$(jq .pid "$(state_dir b)/registry.json")
	kill -9 "$pid"
	# Without waiting for its end in one round of two: the request may meet the dying backend.
	[ $((i % 2)) = 0 ] || wait_until "! kill -0 $pid 2>/dev/null"
done
check in_repo a sh -c 'for i in 1 2 3 4 5; do echo $i; done >../b/last'
eq "$(wc -l <"$R/b/last")" 5 'lines of the last file'
check rrm stop b >/dev/null
for f in f1 f2 f3 f4 f5 f6; do
	eq "$(audit_count b ".path == \"$f\" and .result == \"ok\"")" 1 "records of $f"
done
# one or several: a record ends where its writer does nothing for a while
eq "$(audit b 'select(.path == "last" and .result == "ok") | "\(.writes) \(.bytes)"' |
	awk '{ w += $1; n += $2 } END { print w, n }')" '6 10' 'the create and five writes of 2 bytes in the records of last'
check rrm log b --verify >/dev/null
stop_mount
