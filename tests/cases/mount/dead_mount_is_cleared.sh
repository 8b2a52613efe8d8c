#!/bin/sh
# After kill -9 of guard and server their mount is dead ("Transport endpoint is not connected"); the next rrm-mount
# clears it and serves.
. "${0%/*}/../lib.sh"
make_repo a
check rrm-mount "$M"
stat "$M" "$M" >/dev/null # the kernel keeps the attributes of the top, and shows them of a dead mount, too
kill_mount
wait_until '! stat -f "$M" >/dev/null 2>&1'
stat "$M" >/dev/null || die 'the case it is about did not come about'
check rrm-mount "$M"
eq "$(cat "$M/a/README.md")" '# a' 'a read through the new server'
eq "$(grep -c " $M " /proc/self/mountinfo)" 1 'mounts'
# and -u clears a dead one too
kill_mount
wait_until "! ls \"\$M\" >/dev/null 2>&1"
check rrm-mount -u "$M"
eq "$(ls -A "$M")" '' 'the bare mountpoint'
