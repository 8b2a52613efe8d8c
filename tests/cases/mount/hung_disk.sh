#!/bin/sh
# A disk that does not answer for a while: nobody can be killed who waits for it. A server that is killed or replaced
# then has its successor at once when what hangs is a look or an fsync(2), which may be done twice; a change has to
# be waited for, is made once, and the log says what the mount waits for.
# needs: root
. "${0%/*}/../lib.sh"
# outer, frozen, is the disk of inner; inner, frozen, answers no change
hang() {
	frozen=$1
	fsfreeze -f "$1"
}
answer() {
	fsfreeze -u "$frozen"
	frozen=
}
frozen=
end() {
	end_status=$?
	set +e
	[ -z "$frozen" ] || answer
	(exit "$end_status")
	case_end
}
trap end EXIT
disk() {
	truncate -s "$2" "$1"
	mkfs.ext4 -q -F -E nodiscard "$1" 2>/dev/null
	mkdir -p "$3"
	mount -o loop,noatime "$1" "$3"
}
disk "$T/outer.img" 80M "$T/outer"
disk "$T/outer/inner.img" 40M "$R/slow"
rmdir "$R/slow/lost+found"
make_repo slow
make_repo fast
sync -f "$R/slow"
sync -f "$T/outer"
# The server raises its limit of descriptors, and has more than its guard may begin with.
mkdir "$R/fast/many"
(cd "$R/fast/many" && seq 300 | while read -r n; do echo "$n" >"$n"; done)
soft=$(prlimit --pid $$ --nofile --noheadings --output SOFT)
prlimit --pid $$ --nofile=128:
start_mount
prlimit --pid $$ --nofile="$((soft)):"
cat "$M"/fast/many/* >/dev/null
wait_until '[ "$(find "/proc/$(server_pid)/fd" -type l | wc -l)" -gt 200 ]'
guard=$(guard_pid)

# system calls of x86-64 and arm64
fdatasync='75|83'
mkdirat='258|34'
# hanging PID NUMBERS: its threads that are in one of these system calls, and that nobody can end now
hanging() {
	for h in /proc/"$1"/task/*; do
		case $(sed 's/.*) //' "$h/stat" 2>/dev/null) in
		D*) grep -qsE "^($2) " "$h/syscall" && echo "${h##*/}" ;;
		esac
	done
}
others_go_on() {
	check timeout 10 sh -c 'echo 1 >"$0" && rm "$0" && ls "$1"' "$M/fast/$1" "$M/fast" >/dev/null
	check in_repo fast timeout 10 sh -c 'echo 2 >home && mkdir d && rmdir d && rm home'
}

exec 5<"$M/fast/README.md"

# an fsync
in_repo slow dd if=/dev/zero of=big bs=64k count=32 conv=notrunc 2>/dev/null
hang "$T/outer"
in_repo slow sync -d big &
syncs=$!
wait_until '[ -n "$(hanging "$(server_pid)" "$fdatasync")" ]'
killed=$(server_pid)
kill_server
others_go_on killed
check timeout 30 rrm-mount --reexec "$M"
others_go_on replaced
eq "$(guard_pid)" "$guard" 'the guard'
eq "$(cat <&5)" '# fast' 'a file that was open all the time'
exec 5<&-
[ -n "$(hanging "$killed" "$fdatasync")" ] || die 'the fsync of the server that was killed did not hang until here'
check kill -0 "$syncs"
refuse grep -q event=server_dying "$T/mount.log"
answer
check wait "$syncs"
wait_until '[ ! -d "/proc/$killed" ]'

# a change
hang "$R/slow"
in_repo slow mkdir made &
makes=$!
wait_until '[ -n "$(hanging "$(server_pid)" "$mkdirat")" ]'
killed=$(server_pid)
kill -9 "$killed"
wait_until 'grep -q "event=server_dying pid=$killed thread=[0-9]* syscall=[0-9]* error=\"the disk" "$T/mount.log"'
eq "$(server_pid)" "$killed" 'a successor that would make it twice'
answer
check wait "$makes"
wait_until '[ "$(server_pid)" != "$killed" ]'
others_go_on changed
check test -d "$M/slow/made"
check test -d "$R/slow/made"
eq "$(grep -c event=server_dying "$T/mount.log")" 1 'said how often'

# and one while the program is replaced
hang "$R/slow"
in_repo slow mkdir again &
makes=$!
killed=$(server_pid)
wait_until '[ -n "$(hanging "$killed" "$mkdirat")" ]'
rrm-mount --reexec "$M" &
reexec=$!
wait_until 'grep -q "event=server_dying pid=$killed " "$T/mount.log"'
answer
check wait "$makes"
check wait "$reexec"
refuse test "$(server_pid)" = "$killed"
eq "$(guard_pid)" "$guard" 'the guard'
others_go_on 'replaced'
check test -d "$R/slow/again"
stop_mount
