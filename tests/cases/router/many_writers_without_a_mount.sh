#!/bin/sh
# Twenty rrm write at once into one repository: each lands, in a turn of its own, and none waits for ever.
. "${0%/*}/../lib.sh"
write_config '{"lock_timeout_ms": 100000}' # twenty programs begin at once, and the backend with them
make_repo a
for i in $(seq 20); do
	echo "$i" | rrm write "a/f$i" &
done
wait
for i in $(seq 20); do
	eq "$(cat "$R/a/f$i")" "$i" "file $i"
done
eq "$(audit_count a '.result == "ok"')" 20 'records'
eq "$(audit a .epoch | sort -nu | wc -l)" 20 'epochs'
eq "$(audit a .epoch | sort -nc && echo sorted)" sorted 'epochs in the order of the audit'
check rrm log a --verify >/dev/null
check rrm stop --all >/dev/null
