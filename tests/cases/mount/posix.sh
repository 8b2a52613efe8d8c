#!/bin/sh
# What POSIX suites ask of a file system - every errno of every call, renames of anything over anything, times,
# directories read while they change, O_DIRECT, maps, leases, locks, notifications, programs, and as
# root what several users may do - is answered at home and as a foreigner as in a plain directory.
# timeout: 400
# not: tsan distro (which has no O_TMPFILE)
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
mkdir "$T/plain" "$R/a/w" "$R/b/w"
chmod 755 "$T" "$T/plain" "$R" "$R/a" "$R/b" "$R/a/w" "$R/b/w"
everybody=
[ "$(id -u)" != 0 ] || everybody='-o allow_other'
# shellcheck disable=SC2086 # words
start_mount $everybody

(cd "$T/plain" && exec rrm-posixops) >"$T/x/plain" 2>&1 || die "plain: $(tail -n 3 "$T/x/plain")"
[ "$(wc -l <"$T/x/plain")" -gt 2500 ] || die "only $(wc -l <"$T/x/plain") lines"
# By a child: who goes to another repo himself is at home there.
in_repo a sh -c 'cd w && exec rrm-posixops' >"$T/x/home" 2>&1 || die "home: $(tail -n 3 "$T/x/home")"
in_repo a sh -c '(cd ../b/w && exec rrm-posixops); exit $?' >"$T/x/foreign" 2>&1 ||
	die "foreign: $(tail -n 3 "$T/x/foreign")"

for where in home foreign; do
	diff -U1 "$T/x/plain" "$T/x/$where" >"$T/x/diff" ||
		die "$where is not what a plain directory does: $(head -n "${RRM_LINES-60}" "$T/x/diff")"
done
stop_mount
check rrm stop b
check rrm log --verify b >/dev/null
