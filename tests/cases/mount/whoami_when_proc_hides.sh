#!/bin/sh
# What of /proc cannot be read counts as not there: with hidepid=2 the ancestors of other users, and of a process that
# may not be looked at its directory and environment. Nobody's home is guessed, and every write still goes through.
# needs: root
[ -n "${RRM_HIDDEN-}" ] || exec env RRM_HIDDEN=1 unshare -m --propagation private sh "$0"
. "${0%/*}/../lib.sh"
user=${RRM_TEST_USER-nobody}
as() {
	setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups "$@"
}
mount -t proc -o hidepid=2 proc /proc
[ -z "$(as sh -c 'ls -d /proc/1' 2>/dev/null)" ] || die 'hidepid=2 hides nothing'
git_repo a
git_repo b
chmod 755 "$T"
chown -R "$user" "$T"
for r in a b; do
	check as rrm add --name $r "$R/$r" >/dev/null
done
as env --default-signal=INT,QUIT rrm-mount -f "$M" </dev/null >>"$T/mount.log" 2>&1 &
mount_pid=$!
wait_until "mounted && as test -e '$M/.rrm/status'"
a=$(as rrm list --json | jq -r '.[] | select(.name == "a") | .repo_id')

# in_ REPO CMD...: of the user, at home there; its parent is root's.
in_() {
	# shellcheck disable=SC2016
	as setsid -w sh -c 'cd "$0" && shift && exec "$@"' "$M/$1" "$@"
}
eq "$(in_ a jq -r '"\(.rule) \(.home)"' "$M/.rrm/whoami")" "2 $a" 'below what is hidden'
eq "$(as jq -r '"\(.rule) \(.home)"' "$M/.rrm/whoami")" '3 null' 'outside of the mount'
in_ a sh -c 'echo x >../b/by-the-visible'

# One that may not be traced is not there for others at all, whoever is above it.
undumpable='import ctypes, sys
assert ctypes.CDLL(None).prctl(4, 0) == 0
open(sys.argv[1], "w").write("x")'
in_ a sh -c 'python3 -c "$0" ../b/child; :' "$undumpable"
in_ a python3 -c "$undumpable" ../b/alone
in_ a python3 -c "$undumpable" alone-at-home
home_of() {
	wait_until "[ \"\$(audit $1 'select(.path == \"$2\") | .seq' | wc -l)\" -ge 1 ]"
	audit "$1" "select(.path == \"$2\") | .actor.home" | sort -u
}
state_dir() {
	echo "$S/repos/$(as rrm list --json | jq -r --arg n "$1" '.[] | select(.name == $n) | .repo_id')"
}
eq "$(home_of b by-the-visible)" "$a" 'who can be read'
eq "$(home_of b child)" null 'it cannot be read, its parent can'
eq "$(home_of b alone)" null 'nothing of it can be read'
eq "$(home_of a alone-at-home)" null 'in a, but nobody knows: foreign, and written'
check as rrm-mount -u "$M"
wait_until "! kill -0 $mount_pid 2>/dev/null" 30
mount_pid=
check as rrm stop --all >/dev/null
