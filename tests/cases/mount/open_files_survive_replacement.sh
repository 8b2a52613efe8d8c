#!/bin/sh
# A program in the mount reads a large file, a part of which it has not seen yet when the file goes: removed, another one
# renamed over it, its directory removed or renamed away; outside, through the mount at home and by a foreigner. It reads
# the rest of what it opened, and writes to it. The directory that it works in may go, too.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
# blocks FILE LETTER: 8 MiB, each of its pages another one
blocks() {
	perl -e 'for (my $i = 0; $i < 2048; $i++) { print substr(("$ARGV[0]$i " x 4096), 0, 4096) }' "$2" >"$1"
}
blocks "$T/x/old" old
blocks "$T/x/new" new
start_mount
cat >"$T/x/hold.pl" <<'END'
my ($file, $go, $wanted) = @ARGV;
open(my $f, "+<", $file) or die "open: $!";
binmode $f;
sysread($f, my $b, 4096) == 4096 or die "first read: $!";
open(my $g, ">", "$go.ready"); close $g;
until (-e $go) { select(undef, undef, undef, 0.01) }
my $all = $b;
while ((my $n = sysread($f, $b, 65536)) != 0) { die "read: $!" unless defined $n; $all .= $b }
open(my $w, "<", $wanted); local $/; my $old = <$w>;
die "read " . length($all) . " bytes, not what it opened" unless $all eq $old;
sysseek($f, 4096 * 1000, 0); syswrite($f, "changed") == 7 or die "write: $!";
sysseek($f, 4096 * 1000, 0); sysread($f, $b, 7); die "read back '$b'" unless $b eq "changed";
END
n=0
# goes HOW: what happens to d<n>/f, a file of b, while somebody of a, and somebody of b, has it open
goes() {
	for who in a b; do
		n=$((n + 1))
		mkdir -p "$R/b/d$n/sub"
		cp "$T/x/old" "$R/b/d$n/sub/f"
		in_repo $who perl "$T/x/hold.pl" "$M/b/d$n/sub/f" "$T/x/go$n" "$T/x/old" &
		job=$!
		wait_until "[ -e '$T/x/go$n.ready' ]"
		(cd "$R/b/d$n" && eval "$1")
		wait_until "! cmp -s '$M/b/d$n/sub/f' '$T/x/old'"
		: >"$T/x/go$n"
		wait "$job" || die "at home in $who: what it had open did not survive: $1"
	done
}
# shellcheck disable=SC2016 # for goes
{
	goes 'rm sub/f'
	goes 'cp "$T/x/new" sub/g && mv sub/g sub/f'
	goes 'rm -rf sub'
	goes 'mv sub ../away$n'
	goes 'in_repo b rm d$n/sub/f'
	goes 'in_repo a rm ../b/d$n/sub/f'
	goes 'cp "$T/x/new" sub/g && in_repo a mv ../b/d$n/sub/g ../b/d$n/sub/f'
	goes 'cp "$T/x/new" sub/g && in_repo b mv d$n/sub/g d$n/sub/f'
	goes 'in_repo a rm -r ../b/d$n'
}
# What it works in.
mkdir "$R/b/here"
check in_repo b perl -e '
	chdir("here") or die "chdir: $!";
	rmdir("$ARGV[0]/b/here") or die "rmdir: $!";
	opendir(my $d, ".") or die "opendir: $!";
	my @l = grep { !/^\.\.?$/ } readdir($d);
	die "there is something: @l" if @l;
	open(my $f, ">", "f") and die "made a file in a directory that is gone";
	chdir("..") or die "out of it: $!";
	die "README.md is gone" unless -e "README.md";
' "$R"
stop_mount
