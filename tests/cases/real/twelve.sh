#!/bin/sh
# Twelve real repositories (source packages), a linked worktree and a submodule: twelve writers, each at
# home in one, write into all the others at once while twelve readers read. Every write lands and has its
# record, naming its writer's home; nothing else changes; backends come up on demand, and two that are
# killed -9 in the middle are brought back without a lost write.
# needs: root
# timeout: 600
. "${0%/*}/../lib.sh"
. "$case_dir/lib_twelve.sh"
twelve='hello dash ed tree less patch gzip lua5.4 mawk bc cpio zlib'
for n in $twelve; do
	real_repo "$n"
done
git -C "$R/hello" worktree add -q -b side "$R/hello-side"
check rrm add "$R/hello-side" >/dev/null
git -C "$R/dash" -c protocol.file.allow=always submodule --quiet add "$R/ed" sub
git -C "$R/dash" commit -qm 'a submodule'
ln -s dash/sub "$R/dash-sub"
check rrm add --name dash-sub "$R/dash/sub" >/dev/null
all="$twelve hello-side dash-sub"
KILL='less zlib'
start_mount
all_write "$twelve"
eq "$(wc -l <"$T/x/killed")" 2 'backends killed'
eq "$(find "$T/x" -name 'rounds-*' -size +0 | wc -l)" 12 'readers that read'
stop_mount
