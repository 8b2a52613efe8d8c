#!/bin/sh
# The kernel splits a large write(2); each part is a change of its own. When the turn is gone before the last part, and
# not to be had again, write() tells how much was written, and the next one says why: as on any file system.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
: >"$R/b/f"
# Every part finds the turn overdue, and rrm lock in the line.
write_config '{"lock_timeout_ms": 400, "max_turn_ms": 1, "linger_ms": 1}'
start_mount
check in_repo a mkdir ../b/warm
# hold FILE UNTIL: rrm lock that says so in FILE; $holder
hold() {
	# shellcheck disable=SC2016
	rrm lock b --timeout 20 -- sh -c ': >"$0"; while ! [ -e "$1" ]; do sleep 0.01; done' "$1" "$2" &
	holder=$!
}
for home in a b; do
	: >"$R/b/f"
	hold "$T/held1" "$T/go1"
	first=$holder
	wait_until '[ -e "$T/held1" ]'
	in_repo "$home" python3 - "$M/b/f" "$T" >"$T/x/wrote" <<'P' &
import os, sys
file, t = sys.argv[1:]
fd = os.open(file, os.O_WRONLY)
open(t + "/ready", "w").close()
data = b"x" * (512 << 20)
total = 0
while True:
    try:
        n = os.write(fd, data)
    except OSError as e:
        # Nothing at all: the first rrm lock was not told in time to end. It is not what is tested.
        if total == 0 and os.fstat(fd).st_size == 0:
            continue
        print(total, e.errno)
        break
    total += n # all of it: the second rrm lock has not come yet
P
	writer=$!
	wait_until '[ -e "$T/ready" ]'
	: >"$T/go1"
	check wait "$first"
	wait_until '[ -s "$R/b/f" ]'
	hold "$T/held2" "$T/go2"
	check wait "$writer"
	: >"$T/go2"
	check wait "$holder"
	rm -f "$T/ready" "$T"/go? "$T"/held?
	read -r wrote errno <"$T/x/wrote"
	echo "$home: $wrote bytes, then $errno"
	eq "$errno" 16 "errno of the write after the short one, from $home"
	[ "$wrote" -gt 0 ] || die 'nothing was written'
	eq "$(stat -c %s "$R/b/f")" "$wrote" "what was told and what is there, from $home"
done
stop_mount
