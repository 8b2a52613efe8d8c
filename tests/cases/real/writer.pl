# One writer of the case: its working directory is its home in the mount, from which it writes into every
# other repository. With --check: were all of that one writer's writes to one repository done, and has
# each exactly one record?
#
#	perl writer.pl MOUNT HOME "TARGETS"
#	perl writer.pl --check ROOT HOME TARGET HOME_ID AUDIT.TSV
use strict;
use warnings;
use Fcntl;

my %size = (tiny => 1, line => 60, page => 4096, odd => 70_001, large => 400_000);

sub content {
	my ($home, $target, $name) = @_;
	my $text = "$home writes $name for $target\n";
	return substr($text x (1 + $size{$name} / length $text), 0, $size{$name});
}

# One write(2) a call, as much as the kernel takes.
sub put {
	my ($path, $flags, $text) = @_;
	sysopen(my $f, $path, $flags | O_WRONLY, 0644) or die "open $path: $!\n";
	my $n = syswrite($f, $text);
	die "write $path: $!\n" unless defined $n;
	die "write $path: $n of " . length($text) . " bytes\n" unless $n == length $text;
	close($f) or die "close $path: $!\n";
}

sub write_into {
	my ($top, $home, $target) = @_;
	my $dir = "$top/$target/from-$home";
	mkdir($dir) or die "mkdir $dir: $!\n";
	put("$dir/$_", O_CREAT | O_EXCL, content($home, $target, $_)) for sort keys %size;
	put("$dir/log", O_CREAT | O_APPEND, "$_ of $home\n") for 1 .. 3;
	put("$dir/draft", O_CREAT | O_TRUNC, "draft of $home\n");
	rename("$dir/draft", "$dir/final") or die "rename $dir/draft: $!\n";
	put("$top/$target/SHARED", O_CREAT | O_APPEND, "$home was here\n");
	# What returned is what everybody reads from then on.
	open(my $f, '<', "$dir/page") or die "read $dir/page: $!\n";
	local $/;
	die "read back $dir/page\n" unless <$f> eq content($home, $target, 'page');
}

sub slurp {
	my ($path) = @_;
	open(my $f, '<', $path) or die "$path: $!\n";
	local $/;
	return scalar <$f>;
}

sub check_records {
	my ($home_id, $from, $audit) = @_;
	my (%bytes, %count);
	open(my $f, '<', $audit) or die "$audit: $!\n";
	while (my $line = <$f>) {
		chomp $line;
		my ($h, $op, $path, $path2, $bytes) = split /\t/, $line, -1;
		next unless $path =~ m{^\Q$from\E(/|$)};
		die "$path: record names $h as home\n" unless $h eq $home_id;
		$bytes{$path} += $bytes;
		$count{"$op $path"}++;
	}
	my %want = map { ("$from/$_" => $size{$_}) } keys %size;
	$want{"$from/log"} = $want{"$from/draft"} = 0;
	$want{"$from/log"} += length("$_ of " . substr($from, 5) . "\n") for 1 .. 3;
	$want{"$from/draft"} = length("draft of " . substr($from, 5) . "\n");
	for my $p (sort keys %want) {
		my $got = $bytes{$p} // 'no';
		die "$p: $got bytes in the audit, $want{$p} written\n" unless $got eq $want{$p};
	}
	for my $once ("mkdir $from", "rename $from/draft") {
		my $n = $count{$once} // 0;
		die "$once: $n records\n" unless $n == 1;
	}
}

if ($ARGV[0] eq '--check') {
	my (undef, $root, $home, $target, $home_id, $audit) = @ARGV;
	my $dir = "$root/from-$home";
	for my $name (sort keys %size) {
		die "$dir/$name differs\n" unless slurp("$dir/$name") eq content($home, $target, $name);
	}
	die "$dir/log differs\n" unless slurp("$dir/log") eq join('', map { "$_ of $home\n" } 1 .. 3);
	die "$dir/final differs\n" unless slurp("$dir/final") eq "draft of $home\n";
	die "$dir/draft is still there\n" if -e "$dir/draft";
	my $n = grep { $_ eq "$home was here" } split /\n/, slurp("$root/SHARED");
	die "$root/SHARED has $n lines of $home\n" unless $n == 1;
	check_records($home_id, "from-$home", $audit);
} else {
	my ($top, $home, $list) = @ARGV;
	my @targets = grep { $_ ne $home } split ' ', $list;
	# Everybody starts somewhere else, and all meet everywhere.
	my $first = length($home) * 7 % @targets;
	write_into($top, $home, $_) for @targets[$first .. $#targets], @targets[0 .. $first - 1];
}
