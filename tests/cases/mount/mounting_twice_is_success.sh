#!/bin/sh
# rrm-mount goes to the background once it serves; on a mount that serves it succeeds and changes nothing;
# -u ends the server.
. "${0%/*}/../lib.sh"
make_repo a
check rrm-mount "$M"
eq "$(ls "$M")" a 'right after the return'
pid=$(jq .pid "$S/mount.json")
check kill -0 "$pid"
check rrm-mount "$M"
eq "$(jq .pid "$S/mount.json")" "$pid" 'the server'
eq "$(grep -c " $M " /proc/self/mountinfo)" 1 'mounts'
check in_repo a sh -c 'echo x >f'
check rrm-mount -u "$M"
wait_until "! kill -0 $pid 2>/dev/null"
refuse test -e "$S/mount.json"
eq "$(ls -A "$M")" '' 'the bare mountpoint'
# the default mountpoint is ~/rrm
check rrm-mount
eq "$(ls "$HOME/rrm")" a 'the default mountpoint'
check rrm-mount -u
if mounted_at "$HOME/rrm"; then
	die 'still mounted'
fi
