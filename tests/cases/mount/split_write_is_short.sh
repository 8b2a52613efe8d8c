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
rrm lock b -- sh -c ": >'$T/held'; while ! [ -e '$T/go' ]; do sleep 0.01; done" &
first=$!
wait_until '[ -e "$T/held" ]'
# Takes the turn as soon as it has changed hands, and keeps it.
for home in a b; do
	rm -f "$T/go2" "$T/held2"
	: >"$R/b/f"
	[ "$home" = a ] || { rrm lock b -- sh -c ": >'$T/held'; while ! [ -e '$T/go' ]; do sleep 0.01; done" & first=$!; wait_until '[ -e "$T/held" ]'; }
	in_repo "$home" python3 - "$M/b/f" "$T" >"$T/x/wrote" <<'P' &
import os, sys, time
file, t = sys.argv[1:]
fd = os.open(file, os.O_WRONLY)
open(t + "/ready", "w").close()
data = b"x" * (512 << 20)
total, tries = 0, 0
while True:
    try:
        n = os.write(fd, data)
    except OSError as e:
        print(total, e.errno)
        break
    total += n
    if n == len(data):
        print(total, "all")
        break
P
	writer=$!
	wait_until '[ -e "$T/ready" ]'
	: >"$T/go"
	check wait "$first"
	wait_until '[ -s "$R/b/f" ]'
	rrm lock b --timeout 20 -- sh -c ": >'$T/held2'; while ! [ -e '$T/go2' ]; do sleep 0.01; done" &
	second=$!
	check wait "$writer"
	: >"$T/go2"
	check wait "$second"
	rm -f "$T/ready" "$T/go" "$T/held"
	set -- $(cat "$T/x/wrote")
	echo "$home: $*"
	eq "$2" 16 "errno of the write after the short one, from $home"
	[ "$1" -gt 0 ] || die 'nothing was written'
	eq "$(stat -c %s "$R/b/f")" "$1" "what was told and what is there, from $home"
done
stop_mount
