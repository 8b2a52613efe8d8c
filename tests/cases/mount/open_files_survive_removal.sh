#!/bin/sh
# A file that a program has open stays readable and writable when it is removed: through the mount, and
# outside of it.
. "${0%/*}/../lib.sh"
make_repo a
start_mount
seq 1 100 >"$R/a/one"
seq 1 100 >"$R/a/two"
check in_repo a perl -e '
	open(my $f, "+<", "one") or die "open: $!";
	my $first = <$f>;
	unlink("one") or die "unlink: $!";
	die "still there" if -e "one";
	seek($f, 0, 0);
	my @l = <$f>;
	die "read " . @l . " lines" unless @l == 100;
	syswrite($f, "more\n") or die "write: $!";
	sysseek($f, 0, 0);
	my $all = "";
	while (sysread($f, my $b, 4096)) { $all .= $b }
	die "lost the write" unless $all =~ /\nmore\n$/;
	die "links" unless (stat($f))[3] == 0;
'
refuse test -e "$R/a/one"
check in_repo a perl -e '
	open(my $f, "<", "two") or die "open: $!";
	my $first = <$f>;
	unlink("$ARGV[0]/two") or die "unlink outside: $!";
	for (1 .. 1000) { last unless -e "two"; select(undef, undef, undef, 0.02) }
	die "still there" if -e "two";
	seek($f, 0, 0);
	my @l = <$f>;
	die "read " . @l . " lines" unless @l == 100;
' "$R/a"
stop_mount
