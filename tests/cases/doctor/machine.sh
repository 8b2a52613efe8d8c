#!/bin/sh
# rrm doctor on limits, stale entries, dead mounts, damaged files and what it may not see: each fault is made for
# real, found, and gone again once it is put right. A machine without faults gives "nothing found" and exit 0.
# needs: root
# timeout: 240
# A /proc of its own, in which there is nothing but this case.
[ -n "${RRM_OWN_PIDS-}" ] || RRM_OWN_PIDS=yes exec unshare --pid --fork --mount-proc --kill-child -m --propagation private sh "$0" "$@"
. "${0%/*}/../lib.sh"

# set_to NUMBER FILE: what a file below /proc/sys or /sys says, for this case alone.
set_to() {
	echo "$1" >"$T/x/$(basename "$2")"
	mount --bind "$T/x/$(basename "$2")" "$2"
}

# finds KIND: exit 3 and a finding of that kind, with every part; it is in $T/x/found then.
finds() {
	eq "$(status_of rrm doctor --json)" 3 "exit status with $1 ($(cat "$T/x/err"))"
	jq -e --arg k "$1" '[.findings[] | select(.kind == $k)][0] // empty' "$T/x/out" >"$T/x/found" ||
		die "no finding $1 in $(jq -c '[.findings[] | .kind]' "$T/x/out")"
	jq -e '.level == "problem" and (.what, .why, .fix | length > 5) and ((.where.pids + .where.paths) | length > 0)' "$T/x/found" >/dev/null ||
		die "incomplete: $(cat "$T/x/found")"
	rrm doctor >"$T/x/text" || [ $? = 3 ] || die 'the form for people failed'
	grep -qF "problem: $(jq -r .what "$T/x/found")" "$T/x/text" || die "not in the text: $(cat "$T/x/text")"
}

# clean: no problem is found. Root of a container without CAP_SYS_RESOURCE cannot raise its limit of open files: then that
# one stays, and nothing else.
clean() {
	rrm doctor --json >"$T/x/clean" || [ $? = 3 ] || die 'rrm doctor failed'
	eq "$(jq -c '[.findings[] | select(.level == "problem") | .kind] | unique' "$T/x/clean")" "$allowed" \
		"problems on a clean machine ($(cat "$T/x/clean"))"
	if [ "$allowed" = '[]' ]; then
		eq "$(status_of rrm doctor)" 0 "exit status on a clean machine"
		grep -qx 'nothing found' "$T/x/out" || die "said: $(cat "$T/x/out")"
		jq -e '.ok and .problems == 0' "$T/x/clean" >/dev/null || die 'not clean in JSON'
	fi
}

allowed='[]'
prlimit --pid $$ --nofile=65536:1048576 ||
	allowed='["nofile"]'
set_to 1048576 /proc/sys/fs/inotify/max_user_watches
set_to 1048576 /proc/sys/user/max_inotify_watches
set_to 8192 /proc/sys/fs/inotify/max_user_instances
set_to 8192 /proc/sys/user/max_inotify_instances
mkdir -p "$HOME"
write_config '{"backend":"embedded"}'
make_repo a
clean

# limits
limited() {
	prlimit --nofile=1000:1000 rrm doctor --json
}
eq "$(status_of limited)" 3 'exit status with few open files'
jq -e '.findings[] | select(.kind == "nofile") | .what | contains("1000")' "$T/x/out" >/dev/null || die "with few open files: $(cat "$T/x/out")"
echo 8192 >"$T/x/max_user_watches"
finds inotify_watches
echo 1048576 >"$T/x/max_user_watches"
clean
umount /proc/sys/user/max_inotify_watches
umount /proc/sys/user/max_inotify_instances
cat >"$T/x/in_userns" <<'END'
echo 5000 >/proc/sys/user/max_inotify_watches || exit 9
echo 10 >/proc/sys/user/max_inotify_instances || exit 9
: >"$T/x/watched"
tails=
for i in 1 2 3 4 5 6 7 8 9; do
	tail -f "$T/x/watched" & tails="$tails $!"
done
sum() { cat /proc/[0-9]*/fdinfo/* 2>/dev/null | grep -c '^inotify '; }
until [ "$(sum)" -ge 9 ]; do sleep 0.05; done
rrm doctor --json >"$T/x/userns"
echo $? >"$T/x/userns.status"
echo 9 >/proc/sys/user/max_inotify_watches # nearly all of them are in use
rrm doctor --json >"$T/x/used"
kill $tails
END
export T
check timeout 60 unshare -U -r --kill-child sh "$T/x/in_userns"
eq "$(cat "$T/x/userns.status")" 3 'exit status in a user namespace'
jq -e '[.findings[] | select(.level == "problem") | .kind] | contains(["inotify_watches", "inotify_instances"])' "$T/x/userns" >/dev/null ||
	die "found in a user namespace: $(cat "$T/x/userns")"
jq -e '.findings[] | select(.kind == "inotify_instances") | .what | contains("9 of 10")' "$T/x/userns" >/dev/null || die 'the instances were not counted'
jq -e '.findings[] | select(.kind == "inotify_watches_used") | .what | endswith(" of 9")' "$T/x/used" >/dev/null || die 'the watches were not counted'
set_to 1048576 /proc/sys/user/max_inotify_watches

# io_uring: whether, or why not
uring() {
	rrm doctor --json | jq -r '.findings[] | select(.kind == "io_uring") | .what'
}
[ -n "$(uring)" ] || die 'nothing about io_uring'
if [ -e /sys/module/fuse/parameters/enable_uring ]; then
	set_to Y /sys/module/fuse/parameters/enable_uring
	eq "$(uring)" 'FUSE over io_uring can be used' 'with enable_uring=Y'
	echo N >"$T/x/enable_uring"
	eq "$(uring)" 'FUSE over io_uring cannot be used: the fuse module has enable_uring=N' 'with enable_uring=N'
fi
if [ -e /proc/sys/kernel/io_uring_disabled ]; then
	set_to 2 /proc/sys/kernel/io_uring_disabled
	uring | grep -q 'io_uring_disabled is 2' || [ ! -e /sys/module/fuse/parameters/enable_uring ] || die "said: $(uring)"
	umount /proc/sys/kernel/io_uring_disabled
fi

# processors of a virtual machine that halt at once
halting() {
	rrm doctor --json | jq -r '.findings[] | select(.kind == "halting") | .what'
}
poll_ns=/sys/module/haltpoll/parameters/guest_halt_poll_ns
if grep -qs haltpoll /sys/devices/system/cpu/cpuidle/current_driver && [ -e "$poll_ns" ]; then
	set_to 0 "$poll_ns"
	eq "$(halting)" 'idle processors of this virtual machine halt after 0 us' 'with halting at once'
	echo 200000 >"$T/x/guest_halt_poll_ns"
fi
eq "$(halting)" '' 'without it'

# a backend that was killed, its gateway socket, a session
check rrm ensure a >/dev/null
[ "$allowed" = '[]' ] || allowed='["backend_nofile","nofile"]'
clean
[ "$allowed" = '[]' ] || allowed='["nofile"]'
kill -9 "$(jq .pid "$(state_dir a)/registry.json")"
wait_until '[ "$(rrm status --json a | jq -r ".[0].pid // 0")" = 0 ]'
finds stale_entry
jq -e '.fix == "rrm gc"' "$T/x/found" >/dev/null
check rrm gc >/dev/null
clean
rrm run a -- sh -c 'kill -9 $PPID'  2>/dev/null || :
if [ -n "$(ls "$S/sessions" 2>/dev/null)" ]; then
	finds stale_entry
	check rrm gc >/dev/null
fi
echo 'not JSON' >"$(state_dir a)/registry.json"
finds stale_entry
grep -q damaged "$T/x/found"
eq "$(cat "$(state_dir a)/registry.json")" 'not JSON' 'a damaged registry after doctor'
rm "$(state_dir a)/registry.json"
clean

# mounts: one that hangs, one that is dead
servers() {
	for sv in /proc/[0-9]*; do
		case $(readlink "$sv/exe") in */rrm-mount) echo "${sv#/proc/}" ;; esac
	done
}
start_mount
clean
# shellcheck disable=SC2046 # a list of pids
kill -STOP $(servers)
finds dead_mount
grep -q 'does not answer' "$T/x/found"
# shellcheck disable=SC2046
kill -CONT $(servers)
clean
# All of them, also one that another has just started. Stopped first, for one whose parent dies ends cleanly.
# shellcheck disable=SC2046
kill -STOP $(servers)
wait_until 'kill -9 $(servers) 2>/dev/null; [ -z "$(servers)" ]'
wait "$mount_pid" || :
mount_pid=
finds dead_mount
grep -q 'is dead' "$T/x/found"
check rrm-mount -u "$M"
finds stale_entry
check rrm gc >/dev/null
clean

# what it cannot read is told
mkdir -p "$XDG_DATA_HOME/opencode"
head -c 5000 /dev/urandom >"$XDG_DATA_HOME/opencode/opencode.db"
clean
rrm doctor --json | jq -e '.findings[] | select(.kind == "unreadable_database")' >/dev/null || die 'a damaged database is passed by in silence'
rm "$XDG_DATA_HOME/opencode/opencode.db"
cp "$(command -v sleep)" "$T/x/opencode"
"$T/x/opencode" 600 &
other=$!
wait_until '[ "$(readlink "/proc/$other/exe")" = "$T/x/opencode" ]'
mkdir -m 777 "$T/nobody"
chmod 755 "$T"
status=0
timeout 60 setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$T/nobody" RRM_HOME="$T/nobody/s" XDG_CONFIG_HOME="$T/nobody" \
	XDG_DATA_HOME="$T/nobody" ASAN_OPTIONS=detect_leaks=0 rrm doctor --json >"$T/x/out" 2>"$T/x/err" || status=$?
[ "$status" = 0 ] || { [ "$status" = 3 ] && [ "$allowed" != '[]' ]; } || die "as another user: $status $(cat "$T/x/out" "$T/x/err")"
jq -e --argjson p "$other" '.findings[] | select(.kind == "hidden_process") | .where.pids[0].pid == $p' "$T/x/out" >/dev/null ||
	die "of another user's process: $(cat "$T/x/out")"
finds outside_runtime
kill "$other"

eq "$(status_of rrm doctor a)" 2 'exit status of rrm doctor a'
eq "$(status_of rrm doctor --fix)" 2 'exit status of rrm doctor --fix'
