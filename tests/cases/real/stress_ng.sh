#!/bin/sh
# stress-ng's file stressors with --verify, two processes each, at home and in a foreign repository: none may find
# a fault. RRM_STRESSORS names others than these, RRM_STRESSOR_S says how many seconds each runs (1).
# needs: root
# timeout: 600
. "${0%/*}/../lib.sh"
. "$case_dir/lib_places.sh"
start_places
all='access chdir chmod chown copy-file dentry dir dirdeep dup fallocate fcntl fiemap file-ioctl filename flock fpunch
fstat getdent handle hdd inotify io iomix lease link lockofd mknod mmap msync open readahead rename revio seek
sendfile splice symlink sync-file touch utime xattr'
# Only these by themselves: the others take long and have found nothing here.
some='chmod chown copy-file dir fallocate fcntl filename flock fpunch getdent hdd iomix link lockofd msync rename seek
symlink utime xattr'
case ${RRM_STRESSORS-} in
'') ;;
all) some=$all ;;
*) some=$RRM_STRESSORS ;;
esac
for place in home foreign; do
	for s in $some; do
		st=0
		in_place "$place" "$(dir_of "$place")" stress-ng --temp-path "$(dir_of "$place")" "--$s" 2 --timeout "${RRM_STRESSOR_S-1}s" --verify \
			>"$T/x/stress" 2>&1 || st=$?
		[ "$st" = 0 ] || die "stress-ng --$s ($place): $(tail -n 6 "$T/x/stress")"
	done
	eq "$(find "$R/a/$place" -mindepth 1)" '' "left by stress-ng ($place)"
done
stop_mount
check rrm log a --verify >/dev/null
