#!/bin/sh
# chmod, utimens, xattr of a foreign file, and a file made read-only from birth.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
for f in mode time attr noattr; do
	echo "$f" >"$R/b/$f"
done
setfattr -n user.old -v 1 "$R/b/noattr"
echo 'read only' >"$R/a/ro"
chmod 444 "$R/a/ro"
touch -d '2011-12-13 14:15:16.171819202 UTC' "$R/a/ro"
start_mount
a=$(repo_id a)

check in_repo a chmod 741 ../b/mode
eq "$(stat -c %a "$R/b/mode") $(stat -c %a "$M/b/mode")" '741 741' 'mode'
check in_repo a touch -d '2001-02-03 04:05:06.070809101 UTC' ../b/time
eq "$(stat -c %y "$R/b/time")" "$(stat -c %y "$M/b/time")" 'time in the mount'
eq "$(TZ=UTC stat -c %y "$R/b/time")" '2001-02-03 04:05:06.070809101 +0000' 'time'
check in_repo a setfattr -n user.new -v value ../b/attr
eq "$(getfattr --only-values -n user.new "$R/b/attr" 2>/dev/null)" value 'an xattr'
eq "$(getfattr --only-values -n user.new "$M/b/attr" 2>/dev/null)" value 'an xattr in the mount'
check in_repo a setfattr -x user.old ../b/noattr
fails_with 'No such attribute' getfattr -n user.old "$R/b/noattr"
# cp -p: open(O_CREAT, 0400 or so), write, utimens, chmod
check in_repo a cp -p ro ../b/ro
eq "$(stat -c '%a %Y' "$R/b/ro")" "$(stat -c '%a %Y' "$R/a/ro")" 'a read-only copy'
check cmp "$R/a/ro" "$R/b/ro"
# 0444 at creation: only the handle that made it may write
check in_repo a perl -MFcntl -e 'sysopen(my $f, "../b/born", O_WRONLY|O_CREAT|O_EXCL, 0444) or die $!; syswrite($f, "abc") or die $!; syswrite($f, "def") or die $!; close($f) or die $!'
eq "$(cat "$R/b/born") $(stat -c %a "$R/b/born")" 'abcdef 444' 'a file born read-only'

check rrm stop b >/dev/null
for r in 'chmod mode' 'utimens time' 'setxattr attr' 'removexattr noattr'; do
	eq "$(audit_count b ".op == \"${r% *}\" and .path == \"${r#* }\" and .result == \"ok\" and .actor.home == \"$a\"")" 1 \
		"records of $r"
done
check rrm log b --verify >/dev/null
stop_mount
