#!/bin/sh
# What write turns cost: foreign writes a second against the number of writers, the hand-over of a free turn,
# home writes with somebody who wants the turn now and then. No time decides here.
#
#	sh turns.sh RRM_BENCH_TURNS [--smoke]      programs on PATH: rrm, rrm-mount, rrm-workload
set -eu
export LC_ALL=C.UTF-8
micro=$1
ms=2000 many=10000 n=300 writers='1 2 4 8 16 32 64'
[ "${2-}" != --smoke ] || { ms=300 many=200 n=20 writers='1 8'; }

T=$(mktemp -d "${TMPDIR:-/tmp}/rb.XXXX")
M=$T/m
export HOME="$T/h" RRM_HOME="$T/s" XDG_CONFIG_HOME="$T/h/.config" GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=a@example.org
mkdir -p "$HOME" "$M"
finish() {
	st=$?
	trap - EXIT
	cd /
	rrm-mount -u "$M" >/dev/null 2>&1 || umount -l "$M" 2>/dev/null || true
	rrm stop --all >/dev/null 2>&1 || true
	rm -rf "$T"
	exit "$st"
}
trap finish EXIT
trap 'exit 130' HUP INT TERM

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
at() {
	setsid -w sh -c 'cd "$1" && shift && exec "$@"' sh "$@"
}
# writes MS FILE: how many of 1 KiB each end in that time
writes='use Time::HiRes "time"; my ($ms, $file) = @ARGV; my ($n, $x) = (0, "x" x 1024); my $end = time + $ms / 1000;
	while (time < $end) { open(my $f, "+<", $file) or die "$file: $!"; syswrite($f, $x) or die $!; close $f or die $!; $n++ } print "$n\n"'
for r in $repos; do
	for w in $(seq 64); do
		: >"$T/r/$r/f$w"
	done
	at "$M/home" perl -e "$writes" 1 "$M/$r/f1" >/dev/null
done

echo
printf '%-46s %10s %10s\n' 'foreign writes of 1 KiB a second' 'one branch' '16 repos'
for w in $writers; do
	for spread in 1 16; do
		: >"$T/n"
		jobs=
		for i in $(seq "$w"); do
			at "$M/home" perl -e "$writes" "$ms" "$M/$(printf 'r%02d' $((i % spread)))/f$i" >>"$T/n" &
			jobs="$jobs $!"
		done
		for j in $jobs; do
			wait "$j"
		done
		eval "s$spread=$(awk -v ms="$ms" '{ s += $1 } END { printf "%.0f", s * 1000 / ms }' "$T/n")"
	done
	# shellcheck disable=SC2154 # s1, s16: by eval
	printf '%-46s %10s %10s\n' "  $w writers" "$s1" "$s16"
done

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
