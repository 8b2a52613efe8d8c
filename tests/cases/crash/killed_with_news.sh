#!/bin/sh
# kill -9 of the server that has heard of changes outside and not passed it on: read and not looked at, looked at and not
# queued, queued and not told. Its successor tells the kernel, so nothing stays stale.
# needs: stop_points
# timeout: 120
. "${0%/*}/../lib.sh"
mkdir "$T/p"
export RRM_STOP_DIR="$T/p"
make_repo a
start_mount
for point in news-heard news-taken news-told; do
	d=$R/a/$point
	mkdir "$d"
	echo old >"$d/content"
	touch "$d/removed" "$d/replaced"
	m=$M/a/$point
	eq "$(cat "$m/content")" old "$point: before"
	eq "$(ls "$m")" "$(ls "$d")" "$point: names before"
	check test -e "$m/removed" -a -e "$m/replaced"
	refuse test -e "$m/made" # and the kernel keeps that
	sleep 0.1 # what the looks themselves brought about is over
	server=$(server_pid)
	touch "$T/p/$point"
	echo new >"$d/content"
	rm "$d/removed"
	echo new >"$T/new"
	mv "$T/new" "$d/replaced"
	touch "$d/made"
	wait_until "[ -e '$T/p/$point.$server' ]"
	kill -9 "$server"
	wait_until "[ \"\$(server_pid)\" != '$server' ]" 60
	wait_until "[ \"\$(cat '$m/content')\" = new ]"
	wait_until "[ \"\$(cat '$m/replaced')\" = new ]"
	wait_until "[ ! -e '$m/removed' ]"
	wait_until "[ -e '$m/made' ]"
	wait_until "[ \"\$(ls '$m')\" = \"\$(ls '$d')\" ]"
done
stop_mount
