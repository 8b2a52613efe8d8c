#!/bin/sh
# Each change of a foreign directory's names lands in the real tree and leaves one record.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
mkdir "$R/b/olddir" "$R/b/empty" "$R/b/full"
for f in gone moved mover target linked olddir/in full/in; do
	echo "$f" >"$R/b/$f"
done
start_mount
a=$(repo_id a)

check in_repo a mkdir ../b/newdir
check test -d "$R/b/newdir"
check in_repo a rmdir ../b/empty
refuse test -e "$R/b/empty"
fails_with 'Directory not empty' in_repo a rmdir ../b/full
check in_repo a rm ../b/gone
refuse test -e "$R/b/gone"
check in_repo a mv ../b/moved ../b/moved2
eq "$(cat "$R/b/moved2")" moved 'a renamed file'
check in_repo a mv -f ../b/mover ../b/target
eq "$(cat "$R/b/target")" mover 'a file renamed over another'
check in_repo a mv ../b/olddir ../b/newdir/dir2
eq "$(cat "$R/b/newdir/dir2/in")" olddir/in 'a file in a renamed directory'
eq "$(cat "$M/b/newdir/dir2/in")" olddir/in 'the same in the mount'
check in_repo a ln -s some/where ../b/sym
eq "$(readlink "$R/b/sym")" some/where 'a symlink'
check in_repo a ln ../b/linked ../b/linked2
eq "$(stat -c '%i %h' "$R/b/linked2")" "$(stat -c %i "$R/b/linked") 2" 'a hard link'
check in_repo a sh -c "umask 026 && mkfifo ../b/fifo"
eq "$(stat -c '%F %a' "$R/b/fifo")" 'fifo 640' 'a fifo'
fails_with 'File exists' in_repo a mkdir ../b/newdir
fails_with 'No such file' in_repo a rm ../b/never
eq "$(ls "$M/b")" "$(ls "$R/b")" 'names in the mount'

check rrm stop b >/dev/null
one() {
	eq "$(audit_count b ".op == \"$1\" and .path == \"$2\" and .result == \"ok\" and .actor.home == \"$a\"")" 1 \
		"records of $1 $2"
}
one mkdir newdir
one rmdir empty
one unlink gone
one rename moved
one rename mover
one rename olddir
one symlink sym
one link linked
one mknod fifo
eq "$(audit b 'select(.op == "rename" and .path == "olddir") | .path2')" newdir/dir2 'path2 of a rename'
eq "$(audit b 'select(.path == "full" and .op == "rmdir") | .result')" ENOTEMPTY 'result of a refused rmdir'
eq "$(audit_count b '.result == "ok"')" 9 'records in all'
check rrm log b --verify >/dev/null
stop_mount
