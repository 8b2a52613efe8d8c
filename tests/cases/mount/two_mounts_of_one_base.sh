#!/bin/sh
# Two mounts of one state base: each shows what was written through the other, and writers of both
# into one repository lose nothing.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
mkdir "$T/m2"
check rrm-mount "$T/m2"
mounted_at "$T/m2" || die 'the second mount is not there'
check in_repo a sh -c 'echo one >../b/f'
wait_until '[ "$(cat "$T/m2/b/f" 2>/dev/null)" = one ]'
(cd "$T/m2/a" && echo two >../b/f)
eq "$(cat "$R/b/f")" two 'a write through the second mount'
wait_until '[ "$(cat "$M/b/f")" = two ]'
append() {
	setsid -w sh -c 'cd "$1/a" && for i in $(seq 50); do echo "$2 $i" >>../b/log || exit 1; done' sh "$1" "$2"
}
append "$M" first &
one=$!
append "$T/m2" second &
two=$!
check wait "$one"
check wait "$two"
eq "$(sort "$R/b/log" | uniq | wc -l)" 100 'lines of two writers through two mounts'
check rrm-mount -u "$T/m2"
if mounted_at "$T/m2"; then
	die 'the second mount is still there'
fi
eq "$(cat "$M/b/f")" two 'the first mount goes on'
check rrm stop --all >/dev/null
eq "$(audit b 'select(.path == "log" and .result == "ok") | .bytes' | awk '{ s += $1 } END { print s }')" \
	"$(stat -c %s "$R/b/log")" 'bytes in the audit'
check rrm log b --verify >/dev/null
stop_mount
