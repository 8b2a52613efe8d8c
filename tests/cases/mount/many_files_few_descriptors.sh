#!/bin/sh
# A walk over more files than there may be descriptors (ulimit -n 4096), with every file's attributes and the content
# of some: complete, with at most 200 bytes of memory per node that the kernel knows. RRM_MANY: how many files (default
# 100000; by hand 1000000, with a build without sanitizers, which also shows the growth of the server's memory).
# needs: root
# timeout: 900
. "${0%/*}/../lib.sh"
many=${RRM_MANY-100000}
make_repo a
mkdir "$R/a/many"
# In memory: it is about nodes, not about a disk.
mount -t tmpfs -o "nr_inodes=$((many * 2)),mode=755" rrm-test "$R/a/many"
# Made by several at once; each in directories of 500.
n=0
while [ $n -lt 4 ]; do
	perl -e 'my ($dir, $n, $of, $many) = @ARGV;
		for (my $d = $n; $d * 500 < $many; $d += $of) {
			mkdir("$dir/d$d") or die $!;
			for my $i (0 .. 499) { last if $d * 500 + $i >= $many; open(my $f, ">", "$dir/d$d/file$i.txt") or die $!; print $f $i }
		}' "$R/a/many" $n 4 "$many" &
	n=$((n + 1))
done
wait
# shellcheck disable=SC3045 # dash and bash have it
ulimit -n 4096
start_mount
server=$(server_pid)
rss() {
	awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$server/status"
}
stat_of() {
	jq ".$1" "$M/.rrm/stats"
}
before=$(rss)
nodes=$(stat_of nodes)
bytes=$(stat_of node_bytes)
eq "$(in_repo a find many -type f -size -2 -name 'file*' | wc -l)" "$many" 'files that a walk finds'
[ "$(find "/proc/$server/fd" -type l | wc -l)" -lt 4096 ] || die 'too many descriptors'
nodes=$(($(stat_of nodes) - nodes))
bytes=$(($(stat_of node_bytes) - bytes))
after=$(rss)
say "$nodes nodes: $((bytes / nodes)) bytes each, resident $(((after - before) / nodes)) bytes each"
[ "$nodes" -ge $((many * 9 / 10)) ] || die "the kernel knows only $nodes nodes: this saw nothing"
[ $((bytes / nodes)) -le 200 ] || die "$bytes bytes for $nodes nodes"
# All are still reached, the first and the last of the walk.
eq "$(in_repo a sh -c 'cat many/d0/* many/d*7/file1.txt' | wc -c)" "$(cat "$R/a/many/d0/"* "$R"/a/many/d*7/file1.txt | wc -c)" 'content'
check in_repo a sh -c 'echo more >>many/d1/file3.txt && rm many/d2/file4.txt && mv many/d3/file5.txt many/moved'
eq "$(cat "$R/a/many/d1/file3.txt" "$R/a/many/moved")" '3more
5' 'what was changed'
refuse test -e "$R/a/many/d2/file4.txt"
stop_mount
umount "$R/a/many"
