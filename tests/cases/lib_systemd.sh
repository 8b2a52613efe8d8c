# A systemd of the user for one case, with a /run and a cgroup of its own: sourced first, in place of lib.sh, by cases that
# need root. It wants /run/systemd/system, and a cgroup to write in.
#
#	. "${0%/*}/../lib_systemd.sh"
#	start_systemd
#
# The case may give before_end(), which runs while systemd still does.
# shellcheck shell=sh
[ -n "${RRM_OWN_RUN-}" ] || RRM_OWN_RUN=yes exec unshare -m --propagation private sh "$0" "$@"
. "${0%/*}/../lib.sh"
mount -t tmpfs tmpfs /run
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /run/systemd/system /run/user/0
before=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
mine=/sys/fs/cgroup/rrm-case-$$
mkdir "$mine"
echo $$ >"$mine/cgroup.procs"
export XDG_RUNTIME_DIR=/run/user/0
manager=

before_end() {
	:
}

systemd_end() {
	end_status=$?
	before_end
	[ -z "$manager" ] || kill "$manager" 2>/dev/null || :
	wait "$manager" 2>/dev/null || :
	echo $$ >"$before/cgroup.procs"
	find "$mine" -depth -type d -exec rmdir {} \; 2>/dev/null
	(exit $end_status)
	case_end
}
trap systemd_end EXIT

start_systemd() {
	/lib/systemd/systemd --user --unit=basic.target </dev/null >"$T/x/systemd" 2>&1 &
	manager=$!
	wait_until 'systemctl --user is-system-running >/dev/null 2>&1'
}
