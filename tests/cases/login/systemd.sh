#!/bin/sh
# rrm login enable with a systemd of the user: the unit mounts and says when it serves, with the PATH of the shell that
# enabled it; a server that is killed is started again; disable takes it back. Both units pass systemd-analyze verify.
# needs: root
# timeout: 180
. "${0%/*}/../lib_systemd.sh"
before_end() {
	timeout 20 rrm-mount -u "$M" 2>/dev/null || :
	timeout 20 systemctl --user stop rrm-mount.service 2>/dev/null || :
}
bin=$(dirname "$(command -v rrm)")
units=$bin/../lib/systemd

# As installed, but for the place, which is another one here than the one it was built for.
for u in user/rrm-mount.service system/rrm-mount@.service; do
	mkdir -p "$T/verify/${u%/*}"
	sed "s|[^ =]*/rrm-mount -|$bin/rrm-mount -|" "$units/$u" >"$T/verify/$u"
done
systemd-analyze --user --man=no verify "$T/verify/user/rrm-mount.service" >"$T/x/verify" 2>&1 || die "systemd-analyze: $(cat "$T/x/verify")"
systemd-analyze --man=no verify "$T/verify/system/rrm-mount@.service" >>"$T/x/verify" 2>&1 || die "systemd-analyze: $(cat "$T/x/verify")"
! grep -F rrm-mount "$T/x/verify" || die 'systemd-analyze has something to say'

eq "$(status_of rrm login status)" 1 'exit status before anything is enabled'
export RRM_MOUNTPOINT="$M" PATH="$T/bin%h:$PATH"
start_systemd
make_repo a
# an agent of the user's is noted; one that ssh forwards, gone with its login, is not
SSH_AUTH_SOCK=$T/forwarded check timeout 100 rrm login enable >"$T/x/enabled" 2>&1
refuse grep -q SSH_AUTH_SOCK "$XDG_CONFIG_HOME"/systemd/user/rrm-mount.service.d/*
export SSH_AUTH_SOCK="$XDG_RUNTIME_DIR/agent"
check timeout 100 rrm login enable >"$T/x/enabled" 2>&1
grep -q 'SSH_AUTH_SOCK=/run/user/0/agent' "$XDG_CONFIG_HOME"/systemd/user/rrm-mount.service.d/* || die 'the agent is not noted'
mounted || die "not mounted when enable returned: $(cat "$T/x/enabled")"
[ -e "$M/a/README.md" ] || die 'a is not shown'
eq "$(systemctl --user show -p ActiveState -p SubState -p Type rrm-mount.service | sort | tr '\n' ' ')" 'ActiveState=active SubState=running Type=notify ' 'the unit'
eq "$(status_of rrm login status)" 0 'exit status when it is enabled'
server() {
	jq .pid "$S/mount.json"
}
tr '\0' '\n' <"/proc/$(server)/environ" >"$T/x/environ"
grep -qxF "PATH=$PATH" "$T/x/environ" || die "PATH of the mount: $(grep ^PATH= "$T/x/environ")"
check rrm ensure a >/dev/null
pid=$(jq .pid "$(state_dir a)/registry.json")
! tr '\0' '\n' <"/proc/$pid/environ" | grep ^NOTIFY_SOCKET || die 'a backend may speak to systemd in the name of the mount'
check timeout 100 rrm login enable >/dev/null 2>&1

# All of it is killed, as by the kernel when memory is short.
old=$(systemctl --user show -p MainPID --value rrm-mount.service)
for p in /proc/[0-9]*; do
	case $(readlink "$p/exe") in
	# one that sees its parent die may be gone before its turn comes
	*/rrm-mount) ! grep -qzx "RRM_MOUNTPOINT=$M" "$p/environ" || kill -9 "${p#/proc/}" || : ;;
	esac
done
wait_until '[ "$(systemctl --user show -p MainPID --value rrm-mount.service)" -gt 0 ] && [ "$(systemctl --user show -p MainPID --value rrm-mount.service)" != "$old" ] && [ -e "$M/a/README.md" ]' 60 2>/dev/null

check timeout 100 rrm login disable >/dev/null
mounted || die 'disable unmounted'
eq "$(status_of rrm login status)" 1 'exit status after disable'
eq "$(find "$XDG_CONFIG_HOME/systemd" ! -type d 2>/dev/null)" '' 'what disable left'
check rrm-mount -u "$M"
check rrm stop --all >/dev/null
