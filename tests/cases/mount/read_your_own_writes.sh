#!/bin/sh
# After a foreign write has returned, every reader sees it at once: same process, other process, size and times.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
cat "$M/b/README.md" >/dev/null
check in_repo a perl -e '
	use strict;
	my $p = "../b/README.md";
	for my $i (1 .. 300) {
		my $text = "line $i " . ("x" x ($i % 50)) . "\n";
		open(my $f, ">", $p) or die "open: $!";
		syswrite($f, $text) == length($text) or die "write: $!";
		close($f) or die "close: $!";
		die "size after $i" unless -s $p == length($text);
		open(my $g, "<", $p) or die; local $/; my $got = <$g>;
		die "stale after $i: $got" unless $got eq $text;
		if ($i % 30 == 0) { my $other = `cat $p`; die "stale elsewhere: $other" unless $other eq $text }
	}
'
check cmp "$R/b/README.md" "$M/b/README.md"
stop_mount
