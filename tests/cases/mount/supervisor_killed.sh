#!/bin/sh
# The guard itself is killed: the mount ends cleanly, and the next one serves. A server that crashes on and on is given
# up: the mount ends and the log says why.
. "${0%/*}/../lib.sh"
make_repo a
check rrm-mount "$M"
(cd "$M/a" && exec sleep 300) &
sleeper=$!
wait_until "[ \"\$(readlink /proc/$sleeper/cwd)\" = '$M/a' ]"
server=$(server_pid)
kill -9 "$(guard_pid)"
wait_until "! kill -0 $server 2>/dev/null"
wait_until '! mounted'
wait_until '[ ! -e "$S/mount.json" ]'
check rrm-mount "$M"
eq "$(cat "$M/a/README.md")" '# a' 'a read through the next mount'
# and after both at once
kill_mount
wait_until '! stat -f "$M" >/dev/null 2>&1'
check rrm-mount "$M"
eq "$(cat "$M/a/README.md")" '# a' 'a read through the one after that'
kill "$sleeper"
wait "$sleeper" 2>/dev/null || true

guard=$(guard_pid)
# Three within 10 s: more of them where the next server takes seconds.
crashes=0
while kill -0 "$guard" 2>/dev/null; do
	server=$(server_pid 2>/dev/null) || break # given up, not ended yet
	[ "$crashes" -lt 20 ] || die 'not given up after 20 crashes'
	kill -SYS "$server" # a crash that no sanitizer reports
	crashes=$((crashes + 1))
	wait_until "! kill -0 $guard 2>/dev/null || [ \"\$(server_pid 2>/dev/null)\" != '$server' ]"
done
wait_until "! kill -0 $guard 2>/dev/null"
[ "$crashes" -ge 3 ] || die "given up after $crashes crashes"
if mounted; then
	die 'still mounted'
fi
refuse test -e "$S/mount.json"
grep -q 'event=give_up .*again and again' "$S/rrm-mount.log" || die "the log: $(tail -3 "$S/rrm-mount.log")"
check rrm-mount "$M"
check rrm-mount -u "$M"
