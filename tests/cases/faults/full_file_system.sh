#!/bin/sh
# The repository's own file system is full, has no inode left, or is read-only: at home and foreign a program finds what it
# finds in a plain directory there, writes in part included, and when there is room again all works. The audit names
# what failed.
# needs: root
. "${0%/*}/../lib.sh"
make_repo a
git_repo b
mkdir "$T/b.keep" "$T/plain"
mv "$R/b" "$T/b.keep/b"
for d in b plain home; do
	mkdir -p "$R/$d"
	mount -t tmpfs -o size=6m,nr_inodes=200,mode=755 rrm-test "$R/$d"
	cp -a "$T/b.keep/b/." "$R/$d/"
done
check rrm add --name b "$R/b" >/dev/null
check rrm add --name home "$R/home" >/dev/null
start_mount
run_full() {
	python3 "$case_dir/full.py" "$@"
}
check run_full "$R/plain" "$R/plain" >"$T/x/plain"
check in_repo home python3 "$case_dir/full.py" "$M/home" "$R/home" >"$T/x/home"
# Not by exec: the shell stays in a, so it is at home there.
# shellcheck disable=SC2016 # for that shell
check in_repo a sh -c 'python3 "$@"; st=$?; exit $st' sh "$case_dir/full.py" "$M/b" "$R/b" >"$T/x/foreign"
grep -qx 'next write: ENOSPC' "$T/x/plain" || die "it was not full: $(cat "$T/x/plain")"
eq "$(diff "$T/x/plain" "$T/x/home")" '' 'at home is not as in a plain directory'
eq "$(diff "$T/x/plain" "$T/x/foreign")" '' 'foreign is not as in a plain directory'

# Read-only, and back.
for d in b home; do
	mount -o remount,ro "$R/$d"
done
# Opening is not seen by the mount, so what writes to a file that is there learns it then.
for c in 'head -c 9 /dev/zero | dd of=renamed conv=notrunc oflag=append' 'echo x >new' 'mkdir new' 'mv renamed new' 'rm renamed' 'truncate -s 1 renamed' 'chmod 600 renamed' \
	'ln renamed new' 'touch renamed' 'setfattr -n user.x -v 1 renamed'; do
	fails_with 'Read-only file system' in_repo home sh -c "$c"
	fails_with 'Read-only file system' in_repo a sh -c "(cd ../b && $c); st=\$?; exit \$st"
done
for d in b home; do
	mount -o remount,rw "$R/$d"
done
check in_repo home sh -c 'echo again >again'
check in_repo a sh -c 'echo again >../b/again'
eq "$(cat "$R/b/again" "$R/home/again")" 'again
again' 'writes after that'
check rrm stop b >/dev/null
failed() {
	audit b 'select(.result != "ok") | "\(.result) \(.op)"' | sort | uniq -c | awk '{ printf "%s%s", sep, $2 " " $3; sep = "," }'
}
eq "$(failed)" 'ENOSPC create,ENOSPC mkdir,ENOSPC mknod,ENOSPC symlink,ENOSPC write,EROFS chmod,EROFS create,EROFS link,EROFS mkdir,EROFS rename,EROFS setxattr,EROFS unlink,EROFS utimens,EROFS write' 'what failed, in the audit'
check rrm log b --verify >/dev/null
stop_mount
for d in b plain home; do
	umount "$R/$d"
done
