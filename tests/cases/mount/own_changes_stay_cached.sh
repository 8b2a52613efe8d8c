#!/bin/sh
# What a program writes, links, renames and removes in the mount is not taken for somebody else's change: the kernel
# keeps what it has of it, and nothing is read again.
. "${0%/*}/../lib.sh"
make_repo a
start_mount
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
eq "$(fuse_requests | jq '.FSYNC // 0')" 0 'what was thrown away'
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
# The first look after all that asks for attributes; READ would say that something was thrown away.
got=$(requests_of in_repo a sh -c 'cat index replaced object* >/dev/null')
case " $got" in *' READ='*) die "what was read again: $got" ;; esac
stop_mount
