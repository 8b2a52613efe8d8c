#!/bin/sh
# A mountpoint that cannot be one is refused with a sentence; nothing is mounted.
. "${0%/*}/../lib.sh"
make_repo a
mkdir "$T/full"
echo x >"$T/full/x"
echo x >"$T/file"
no() {
	text=$1
	shift
	fails_with "$text" timeout 20 rrm-mount "$@"
	eq "$(wc -l <"$T/x/err")" 1 "lines of error ($(cat "$T/x/err"))"
}
no 'not empty' "$T/full"
no 'not a directory' "$T/file"
no 'a' "$R/a/src/deep"
grep -qi 'inside\|below\|in the repository' "$T/x/err" || die "no word of the repository: $(cat "$T/x/err")"
no '' "$(printf '%s/%s' "$T" "$(head -c 300 /dev/zero | tr '\0' n)")"
no '' -o no_such_option "$M"
eq "$(status_of rrm-mount --no-such-option "$M")" 2 'status of a wrong option'
check timeout 20 rrm-mount -u "$T/full"
eq "$(awk -v t="$T/" 'index($5, t) == 1' /proc/self/mountinfo)" '' 'mounts'
eq "$(cat "$T/full/x")" x 'what was in the full directory'
# one that does not exist is made
check rrm-mount "$T/new/er"
mounted_at "$T/new/er" || die 'not mounted'
check rrm-mount -u "$T/new/er"
