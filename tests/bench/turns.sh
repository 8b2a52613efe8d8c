#!/bin/sh
# What write turns cost: foreign writes a second against the number of writers and how long each takes, readers
# beside them, the hand-over of a free turn, home writes with somebody who wants the turn now and then. No time decides
# here.
#
#	sh turns.sh RRM_BENCH_TURNS [--smoke]      programs on PATH: rrm, rrm-mount, rrm-workload
set -eu
export LC_ALL=C.UTF-8
micro=$1
ms=2000 many=10000 n=300 writers='1 2 4 8 16 32 64'
[ "${2-}" != --smoke ] || { ms=300 many=200 n=20 writers='1 8'; }

. "${0%/*}/place.sh"
own_place

"$micro"

repos=$(seq -f 'r%02g' 0 15)
for r in $repos home; do
	git init -q -b main "$T/r/$r"
	echo "$r" >"$T/r/$r/README.md"
	git -C "$T/r/$r" add -A
	git -C "$T/r/$r" commit -qm start
done
rrm add "$T"/r/* >/dev/null
rrm-mount "$M"
# writes MS FILE: how long each of 1 KiB takes that begins in that time, in us
writes='use Time::HiRes "time"; my ($ms, $file) = @ARGV; my ($x, @t) = ("x" x 1024); my $end = time + $ms / 1000;
	while ((my $b = time) < $end) { open(my $f, "+<", $file) or die "$file: $!"; syswrite($f, $x) or die $!; close $f or die $!;
	push @t, int(1e6 * (time - $b)) } print "$_\n" for @t'
for r in $repos; do
	for w in $(seq 64); do
		: >"$T/r/$r/f$w"
	done
	at "$M/home" perl -e "$writes" 1 "$M/$r/f1" >/dev/null
done

echo
printf '%-30s %10s %23s   %10s %23s\n' 'foreign writes of 1 KiB' 'one branch' '(p50, p99, longest, ms)' '16 repos' '(p50, p99, longest, ms)'
for w in $writers; do
	for spread in 1 16; do
		jobs=
		for i in $(seq "$w"); do
			at "$M/home" perl -e "$writes" "$ms" "$M/$(printf 'r%02d' $((i % spread)))/f$i" >"$T/n$i" &
			jobs="$jobs $!"
		done
		for j in $jobs; do
			wait "$j"
		done
		cat "$T"/n[0-9]* >"$T/n"
		rm "$T"/n[0-9]*
		eval "s$spread='$(sort -n "$T/n" | awk -v ms="$ms" '{ t[NR] = $1 / 1000 }
			function at(p) { return t[int(p * (NR - 1)) + 1] }
			END { printf "%7.0f /s (%6.1f %6.1f %6.1f)", NR * 1000 / ms, at(0.5), at(0.99), t[NR] }')'"
	done
	# shellcheck disable=SC2154 # s1, s16: by eval
	printf '%-30s %s   %s\n' "  $w writers" "$s1" "$s16"
done

# reads MS TREE...: p99 of open, read and close of a file that the kernel knows, in us, in each tree by turns. (Perl's
# open would ask the mount whether it is a terminal.)
reads='import os, sys, time
ms, trees = float(sys.argv[1]), sys.argv[2:]
took = {tree: [] for tree in trees}
end = time.monotonic() + ms / 1000
while time.monotonic() < end:
	for i in range(16):
		for tree in trees:
			b = time.monotonic()
			fd = os.open(f"{tree}/r{i:02}/README.md", os.O_RDONLY); os.read(fd, 4096); os.close(fd)
			took[tree].append(time.monotonic() - b)
	time.sleep(0.0005)
print(*(round(1e6 * sorted(t)[len(t) * 99 // 100], 1) for t in took.values()))'
python3 -c "$reads" "$ms" "$M" >/dev/null
quiet=$(python3 -c "$reads" "$ms" "$M" "$T/r")
jobs=
for i in $(seq 16); do
	at "$M/home" perl -e "$writes" $((2 * ms)) "$M/$(printf 'r%02d' $((i % 16)))/f$i" >/dev/null &
	jobs="$jobs $!"
done
busy=$(python3 -c "$reads" "$ms" "$M" "$T/r")
for j in $jobs; do
	wait "$j"
done
echo
echo "$quiet $busy" | awk '{ printf "%-46s %6.1f us alone, %6.1f us beside 16 writers: x%.2f  goal 1.5 (in the real tree x%.2f)\n",
	"read in the mount, p99", $1, $3, $3 / $1, $4 / $2 }'

# One writer with a pause longer than linger after each write; then two in turn, so that each write takes the turn
# from the other one, who has not used it for a while.
paced='use Time::HiRes qw(time sleep); my ($n, $every, $first, $file) = @ARGV; my $x = "x" x 1024; my $t0 = int(time) + 1; my @t;
	for my $i (0 .. $n - 1) { my $at = $t0 + ($i * $every + $first) / 1000; my $d = $at - time; sleep $d if $d > 0;
	my $b = time; open(my $f, "+<", $file) or die $!; syswrite($f, $x); close $f or die $!; push @t, time - $b }
	@t = sort { $a <=> $b } @t; printf "%.0f\n", 1e6 * $t[@t / 2]'
alone=$(at "$M/home" perl -e "$paced" "$n" 60 0 "$M/r00/f1")
at "$M/r01" perl -e "$paced" "$n" 60 30 "$M/r00/f2" >/dev/null &
other=$!
taken=$(at "$M/home" perl -e "$paced" "$n" 60 0 "$M/r00/f1")
wait "$other"
echo
printf '%-46s %6s us alone, %6s us with the hand-over: %+d us  goal 100\n' 'foreign write, every 60 ms, median' \
	"$alone" "$taken" $((taken - alone))

# create: home writes, with and without one who writes there every 100 ms from elsewhere.
create() {
	mkdir "$M/r02/c"
	at "$M/r02" rrm-workload create c "$many" 100
	rm -r "$T/r/r02/c"
}
: >"$T/alone"
: >"$T/wanted"
for _ in 1 2 3 4 5; do
	create >>"$T/alone"
	at "$M/home" perl -e 'while (! -e $ARGV[0]) { open(my $f, "+<", $ARGV[1]) or die $!; syswrite($f, "x") or die $!;
		close $f; select(undef, undef, undef, 0.1) }' "$T/stop" "$M/r02/f1" &
	other=$!
	sleep 0.3
	create >>"$T/wanted"
	: >"$T/stop"
	wait "$other"
	rm "$T/stop"
done
awk -v n="$many" 'FNR == 1 { f++ } { v[f, FNR] = $1; c = FNR }
	function median(k, i, j, t, w) { for (i = 1; i <= c; i++) w[i] = v[k, i]
		for (i = 1; i <= c; i++) for (j = i + 1; j <= c; j++) if (w[j] < w[i]) { t = w[i]; w[i] = w[j]; w[j] = t }
		return w[int((c + 1) / 2)] }
	END { a = median(1); b = median(2)
		printf "%-46s %7.1f ms alone, %7.1f ms with a contender: x%.2f  goal 1.05\n", "create of " n " files at home", a / 1000, b / 1000, b / a }' \
	"$T/alone" "$T/wanted"
