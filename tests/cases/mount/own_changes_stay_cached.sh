#!/bin/sh
# What a program writes, links, renames and removes in the mount is not taken for somebody else's change: the kernel
# keeps what it has of it. (That nothing is read again cannot be asked for: the kernel may want the memory.)
. "${0%/*}/../lib.sh"
make_repo a
start_mount
dropped() {
	jq .dropped.files "$M/.rrm/stats"
}
check in_repo a perl -MFcntl -e '
	sub put {
		my ($name, $mode) = @_;
		sysopen(my $f, $name, O_RDWR | O_CREAT | O_EXCL, $mode) or die "$name: $!";
		syswrite($f, "x" x 4096) == 4096 or die "write: $!";
	}
	for my $i (1 .. 30) {
		put("index.lock", 0644); # as git replaces its index, before the last one was closed
		rename("index.lock", "index") or die "rename: $!";
		put("tmp_obj", 0444); # and makes its objects
		link("tmp_obj", "object$i") or die "link: $!";
		unlink("tmp_obj") or die "unlink: $!";
		utime(undef, undef, "object1") or die "utime: $!";
		select(undef, undef, undef, 0.01);
	}
'
sleep 0.3
eq "$(dropped)" 0 'files whose cached content was dropped'
# The descriptor of what was replaced is closed while its successor is being written.
check in_repo a perl -MFcntl -e '
	for my $i (1 .. 3) {
		sysopen(my $old, "lock", O_RDWR | O_CREAT | O_EXCL, 0644) or die "lock: $!";
		rename("lock", "replaced") or die "rename: $!";
		sysopen(my $new, "lock", O_RDWR | O_CREAT | O_EXCL, 0644) or die "lock: $!";
		rename("lock", "replaced") or die "rename: $!";
		syswrite($old, "old") == 3 or die "write: $!";
		for (1 .. 25) {
			sysseek($new, 0, 0);
			syswrite($new, "x" x 4096) == 4096 or die "write: $!";
			select(undef, undef, undef, 0.004);
		}
	}
'
sleep 0.3
# The three that were replaced may be: each has lost its name, and its new ctime says no more.
now=$(dropped)
[ "$now" -le 3 ] || die "the cached content of files was dropped $now times"
# And what somebody else changes is dropped.
echo outside >>"$R/a/index"
wait_until '[ "$(dropped)" -gt "$now" ]'
eq "$(in_repo a tail -n 1 index | tail -c 8)" outside 'what was changed outside'
stop_mount
