#!/bin/sh
# rrm lock holds the write turn: a write through the mount, at home or foreign, waits until its command ends.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
for from in a b; do
	rm -f "$T/held"
	check in_repo "$from" mkdir "../b/warm-$from"
	rrm lock b -- sh -c ": >'$T/held'; sleep 0.5; echo holder >>'$T/order'" &
	holder=$!
	wait_until '[ -e "$T/held" ]'
	check in_repo "$from" mkdir "../b/waited-$from"
	echo "writer" >>"$T/order"
	check wait "$holder"
done
eq "$(tr '\n' ' ' <"$T/order")" 'holder writer holder writer ' 'the order'
eq "$(status_of rrm lock b -- sh -c 'exit 7')" 7 'the status of the command'
stop_mount
