#!/bin/sh
# Nobody tells the server when a program closes a file, once the kernel knows that it sees no OPEN. What made a file
# whose mode forbids to write it is kept for its maker all the same, at home and in a foreign repository: without
# keeping all of them for good, a removed file's room, or a program from being run.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
check in_repo a cat README.md ../b/README.md >/dev/null
eq "$(jq '.requests.OPEN' "$M/.rrm/stats")" 1 'how often the kernel asked for an OPEN'

# make DIR PAUSE: 1200 files of mode 0444; the first one is written again now and then, the second one after PAUSE s
cat >"$T/make" <<'PERL'
use Fcntl;
my ($dir, $pause) = @ARGV;
sub made {
	sysopen(my $f, "$dir/$_[0]", O_RDWR | O_CREAT | O_EXCL, 0444) or die "$_[0]: $!";
	put($f, "one");
	return $f;
}
sub put {
	my ($f, $text) = @_;
	syswrite($f, $text) == length $text or die "write: $!";
}
my $first = made("first");
for my $i (1 .. 1200) {
	close(made("f$i"));
	put($first, "x") if $i % 50 == 0;
}
my $second = made("second");
select(undef, undef, undef, $pause);
put($second, "two");
sysseek($second, 0, 0);
my $text;
sysread($second, $text, 10) == 6 && $text eq "onetwo" or die "read '$text': $!";
PERL
# written PID: how many files it has open for writing
written() {
	find "/proc/$1/fd" -type l -perm -200 -lname "$R/*" 2>/dev/null | wc -l
}
backend_pid() {
	rrm status --json | jq '.[] | select(.name == "b").pid'
}
for side in a b; do
	mkdir "$R/$side/made"
	check in_repo a perl "$T/make" "../$side/made" 1.5
	eq "$(stat -c %s "$R/$side/made/first" "$R/$side/made/second" "$R/$side/made/f9" | paste -sd' ')" '27 6 3' "sizes in $side"
done
server=$(server_pid)
backend=$(backend_pid)
wait_until "[ \$(written $server) -le 520 ]"
wait_until "[ \$(written $backend) -le 260 ]"

# After a kill they are the successor's.
kill_server
check in_repo a perl "$T/make" made/.. 1.5 # a copy of each name, beside the old ones
server=$(server_pid)
wait_until "[ \$(written $server) -le 520 ]"

for side in a b; do
	check in_repo a rm -rf "../$side/made"
	check in_repo a sh -c "rm -f ../$side/f* ../$side/second"
done
wait_until "[ \$(written $server) -eq 0 ]"
wait_until "[ \$(written $backend) -eq 0 ]"

# A program that nobody writes any more can be run.
for side in a b; do
	check in_repo a perl -MFcntl -e '
		sysopen(my $f, $ARGV[0], O_RDWR | O_CREAT | O_EXCL, 0555) or die "open: $!";
		open(my $from, "<", "/bin/true") or die;
		local $/;
		my $all = <$from>;
		syswrite($f, $all) == length $all or die "write: $!";
	' "../$side/program"
	wait_until "\$R/$side/program 2>/dev/null" 60
	check in_repo a "../$side/program"
done
# What becomes a program later, or is none any more.
for side in a b; do
	check in_repo a perl -MFcntl -e '
		my ($dir) = @ARGV;
		open(my $from, "<", "/bin/true") or die;
		local $/;
		my $all = <$from>;
		for my $name ("made", "removed") {
			sysopen(my $f, "$dir/$name", O_RDWR | O_CREAT | O_EXCL, 0444) or die "open: $!";
			syswrite($f, $all) == length $all or die "write: $!";
		}
		sysopen(my $late, "$dir/late", O_RDWR | O_CREAT | O_EXCL, 0555) or die "open: $!";
		chmod(0444, "$dir/late") or die "chmod: $!";
		select(undef, undef, undef, 3);
		syswrite($late, "x") == 1 or die "a write of its maker, 3 s later: $!";
		chmod(0555, "$dir/made") or die "chmod: $!";
	' "../$side"
	wait_until "\$R/$side/made 2>/dev/null" 60
	rm "$R/$side/removed"
	pid=$server
	[ "$side" = a ] || pid=$backend
	wait_until "! find /proc/$pid/fd -lname '$R/$side/removed (deleted)' 2>/dev/null | grep -q ." 60
done
stop_mount
