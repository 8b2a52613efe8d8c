#!/bin/sh
# rrm-mount --reexec: the mount goes on with the program that is installed now, in the same process; programs
# notice nothing. What cannot take over does not.
# timeout: 300
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
bin=$T/bin
mkdir "$bin" "$R/a/load" "$R/b/load"
touch "$R/a/load/lines" "$R/b/load/lines"
# as an installation replaces it: another file under the same name
install_again() {
	cp "$1" "$bin/rrm-mount.new"
	mv "$bin/rrm-mount.new" "$bin/rrm-mount"
}
program=$(command -v rrm-mount)
RRM_BINDIR=$(dirname "$(command -v rrm)")
export RRM_BINDIR
install_again "$program"
PATH=$bin:$PATH
fails_with 'nothing is mounted' rrm-mount --reexec "$M"
start_mount
guard=$(guard_pid)
in_repo a rrm-unnoticed "$M/a/load" "$M/b/load" "$T/stop" >"$T/counts" 2>"$T/failed" &
load=$!
wait_until '[ -s "$M/b/load/lines" ]' 60
for i in 1 2 3; do
	install_again "$program"
	begun=$(date +%s)
	rrm-mount --reexec "$M" || {
		for t in /proc/"$guard"/task/* /proc/[0-9]*/task/*; do
			case $(cat "$t/../../comm" 2>/dev/null) in
			rrm-mount* | rrm-touch*) echo "$t $(tr '\n' ' ' 2>/dev/null <"$t/stat" | cut -c1-60) $(cat "$t/wchan" "$t/syscall" 2>/dev/null | tr '\n' ' ')" ;;
			esac
		done >&2
		die 'the program was not changed'
	}
	[ "$(($(date +%s) - begun))" -le 20 ] || check grep event=server_dying "$T/mount.log" # the disk
	eq "$(guard_pid)" "$guard" 'the process that the mount lives as long as'
	eq "$(stat -Lc %i "/proc/$(server_pid)/exe" "/proc/$guard/exe" | uniq)" "$(stat -c %i "$bin/rrm-mount")" 'the program'
done
# one that does not even start leaves all as it is
server=$(server_pid)
printf 'no program' >"$bin/rrm-mount.new"
mv "$bin/rrm-mount.new" "$bin/rrm-mount"
fails_with 'does not start' "$program" --reexec "$M"
eq "$(server_pid)" "$server" 'the server'
touch "$T/stop"
st=0
wait "$load" || st=$?
eq "$st $(cat "$T/failed")" '0 ' 'the programs in the mount'
refuse grep -q event=server_died "$T/mount.log"
PATH=${PATH#*:}
# shared descriptors: what comes and goes meanwhile makes a difference only for a moment
fds_of() {
	find "/proc/$1/fd" -type l | wc -l
}
wait_until '[ "$(fds_of "$(guard_pid)")" = "$(fds_of "$(server_pid)")" ]'
stop_mount

# told to end while it makes room: it ends
start_mount
guard=$(guard_pid)
kill -STOP "$guard"
kill -USR2 "$guard"
kill -TERM "$guard"
kill -CONT "$guard"
wait_until "! kill -0 $mount_pid 2>/dev/null" 30
st=0
wait "$mount_pid" || st=$?
mount_pid=
eq "$st" 0 'exit status'
refuse mounted
refuse test -e "$S/mount.json"
