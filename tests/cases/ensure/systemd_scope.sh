#!/bin/sh
# With a systemd of the user each backend is in a scope of its own, under its own pid, and stop ends all that
# is in there, whatever its session and environment, but for a mount. A systemd-run that fails or hangs, or
# no systemd any more: it is started without.
# needs: root
# timeout: 180
. "${0%/*}/../lib_systemd.sh"
start_systemd

write_config '{"backend":"embedded"}'
make_repo a
make_repo b
reg=$(state_dir a)/registry.json
gone() {
	! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"
}
check rrm ensure a >/dev/null
pid=$(jq .pid "$reg")
scope=$(jq -r .scope "$reg")
eq "$(basename "$(readlink "/proc/$pid/exe")")" rrm-backend 'what runs under the pid'
case $scope in
"$mine"/*"/rrm-$(repo_id a)-"*.scope) ;;
*) die "its scope is '$scope'" ;;
esac
grep -qx "$pid" "$scope/cgroup.procs" || die 'the backend is not in its scope'
systemctl --user list-units --type=scope | grep -q "rrm-$(repo_id a)-" || die 'systemd knows no scope'
eq "$(rrm status --json a | jq '.[0].scope')" true 'scope in rrm status'

# What nothing but the cgroup knows: another session, no environment, no parent, no ear for TERM.
env -i setsid sh -c 'trap "" TERM; while :; do sleep 1; done' &
stray=$!
echo "$stray" >"$scope/cgroup.procs"
start_mount
echo "$mount_pid" >"$scope/cgroup.procs"
check rrm stop a
check gone "$pid"
check gone "$stray"
kill -0 "$mount_pid" || die 'the mount was ended with the backend'
echo "$mount_pid" >"$mine/cgroup.procs"
stop_mount
wait_until '[ ! -e "$scope" ]'

# Without the mount in there the cgroup is killed as one.
check rrm ensure a >/dev/null
scope=$(jq -r .scope "$reg")
env -i setsid sh -c 'trap "" TERM; while :; do sleep 1; done' &
stray=$!
echo "$stray" >"$scope/cgroup.procs"
check rrm restart a >/dev/null
check gone "$stray"
check rrm stop a

# Programs that call themselves systemd-run.
mkdir "$T/bin"
for what in 'echo "Failed to start transient scope unit" >&2; exit 1' 'exec sleep 8642913'; do
	printf '#!/bin/sh\n%s\n' "$what" >"$T/bin/systemd-run"
	chmod +x "$T/bin/systemd-run"
	check env PATH="$T/bin:$PATH" rrm ensure b >/dev/null 2>"$T/x/err"
	grep -q 'event=scope .*runs without a scope' "$T/x/err" || die "said: $(cat "$T/x/err")"
	eq "$(jq .scope "$(state_dir b)/registry.json")" null 'the scope after a failure'
	check rrm stop b
done
eq "$(pgrep -cx -f "sleep 8642913")" 0 'systemd-run that are left'

kill "$manager"
wait "$manager" || :
manager=
check rrm ensure a >/dev/null
eq "$(jq .scope "$reg")" null 'the scope without a systemd'
check rrm stop a
