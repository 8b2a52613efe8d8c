#!/bin/sh
# rrm harden: shows first, writes with --apply, takes it back with --undo, never lowers a limit, and leaves files alone
# that are not its own.
# needs: root
# A machine whose /etc and inotify limits are this case's: other cases run beside it and keep theirs.
[ -n "${RRM_OWN_ETC-}" ] || RRM_OWN_ETC=yes exec unshare -m --propagation private sh "$0" "$@"
. "${0%/*}/../lib.sh"

mkdir "$T/etc"
mount --bind "$T/etc" /etc
end() {
	end_status=$?
	set +e
	umount -l /etc
	(exit $end_status)
	case_end
}
trap end EXIT
echo 8192 >"$T/x/max_user_watches"
echo 9000 >"$T/x/max_user_instances"
for f in max_user_watches max_user_instances; do
	mount --bind "$T/x/$f" "/proc/sys/fs/inotify/$f"
done
watches=/proc/sys/fs/inotify/max_user_watches
instances=/proc/sys/fs/inotify/max_user_instances
halting=/sys/module/haltpoll/parameters/guest_halt_poll_ns
if [ -e $halting ]; then
	echo 0 >"$T/x/halting"
	mount --bind "$T/x/halting" $halting
fi
# eq_halting NS WHAT: where there is such a thing
eq_halting() {
	[ ! -e $halting ] || eq "$(cat $halting)" "$1" "$2"
}
files='sysctl.d/60-rrm.conf security/limits.d/60-rrm.conf systemd/system.conf.d/60-rrm.conf systemd/user.conf.d/60-rrm.conf tmpfiles.d/60-rrm.conf'

rrm harden >"$T/x/shown"
eq "$(ls /etc)" '' 'what showing wrote'
for f in $files; do
	grep -qx "/etc/$f:" "$T/x/shown" || die "not shown: $f"
done
check rrm harden --apply >"$T/x/applied"
for f in $files; do
	grep -qx "wrote /etc/$f" "$T/x/applied" || die "not said: $f"
	while read -r line; do
		grep -qxF -e "$line" "$T/x/shown" || die "written, but not shown: $line"
	done <"/etc/$f"
done
grep -qx 'fs.inotify.max_user_watches = 1048576' /etc/sysctl.d/60-rrm.conf
grep -qx 'fs.inotify.max_user_instances = 9000' /etc/sysctl.d/60-rrm.conf
eq "$(cat $watches) $(cat $instances)" '1048576 9000' 'the limits that hold at once'
grep -qx '\* soft nofile 65535' /etc/security/limits.d/60-rrm.conf
grep -qx "w $halting - - - - 200000" /etc/tmpfiles.d/60-rrm.conf
eq_halting 200000 'how long processors wait before they halt'
hard=$(sed -n 's/^\* hard nofile //p' /etc/security/limits.d/60-rrm.conf)
[ "$hard" -ge 65535 ] || die "the hard limit is $hard"
soft=$(sed -n 's/^DefaultLimitNOFILE=\(.*\):.*/\1/p' /etc/systemd/user.conf.d/60-rrm.conf)
eq "$soft" 65535 'the soft limit of services'
check rrm harden --apply >/dev/null
check rrm harden --undo >/dev/null
eq "$(find /etc -type f)" '' 'files after undo'
eq "$(cat $watches) $(cat $instances)" '8192 9000' 'the limits after undo'
eq_halting 0 'that after undo'
check rrm harden --undo
eq_halting 0 'that after undoing nothing'

echo mine >/etc/sysctl.d/60-rrm.conf
fails_with 'not made by rrm harden' rrm harden --apply
fails_with 'not made by rrm harden' rrm harden --undo
eq "$(find /etc -type f)" /etc/sysctl.d/60-rrm.conf 'files after a refusal'
rm /etc/sysctl.d/60-rrm.conf

# For a package or an image: nothing but files, and nothing of this machine in them.
check rrm harden --apply --root "$T/image" >/dev/null
eq "$(cat $watches)" 8192 'the limit of this machine'
eq_halting 0 'how long processors of this machine wait'
refuse grep -q before "$T/image/etc/tmpfiles.d/60-rrm.conf"
grep -qx 'fs.inotify.max_user_instances = 8192' "$T/image/etc/sysctl.d/60-rrm.conf"
check rrm harden --undo --root "$T/image" >/dev/null
eq "$(find "$T/image" -type f)" '' 'the image after undo'

chmod 755 "$T"
mkdir -m 777 "$T/nobody"
status=0
setpriv --reuid=65534 --regid=65534 --clear-groups env ASAN_OPTIONS=detect_leaks=0 rrm harden --apply >"$T/x/out" 2>"$T/x/err" || status=$?
eq "$status" 1 'exit status of an ordinary user'
grep -q 'sudo rrm harden --apply' "$T/x/err" || die "said: $(cat "$T/x/err")"
eq "$(status_of rrm harden --apply --undo)" 2 'exit status of both'
umount $watches $instances
[ ! -e $halting ] || umount $halting
