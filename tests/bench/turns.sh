#!/bin/sh
# What write turns cost: foreign writes a second against the number of writers and how long each takes, readers
# beside them, the hand-over of a free turn, home writes with somebody who wants the turn now and then. What is compared
# is measured by turns, and the ratio is the median of those of each round: what else the machine does meets both. No time
# decides here.
#
#	sh turns.sh RRM_BENCH_TURNS [--smoke]      programs on PATH: rrm, rrm-mount, rrm-workload
set -eu
export LC_ALL=C.UTF-8
micro=$1
ms=2000 many=10000 n=30 rounds=9 writers='1 2 4 8 16 32 64'
[ "${2-}" != --smoke ] || { ms=300 many=200 n=5 rounds=1 writers='1 8'; }

. "${0%/*}/place.sh"
own_place "$([ "${2-}" != --smoke ] || echo small)"
memory=$(mktemp -d /dev/shm/rb.XXXX) # a tree in memory: no disk, whose moods are larger than what is measured
mkdir "$T/l"
before_leave() {
	for m in "$T/l" "$M"; do
		rrm-mount -u "$m" >/dev/null 2>&1 || umount -l "$m" 2>/dev/null || true
	done
	rrm stop --all >/dev/null 2>&1 || true
	rm -rf "$memory"
}

"$micro"

repos=$(seq -f 'r%02g' 0 15)
for r in $repos home; do
	git init -q -b main "$T/r/$r"
	echo "$r" >"$T/r/$r/README.md"
	git -C "$T/r/$r" add -A
	git -C "$T/r/$r" commit -qm start
done
git clone -q "$T/r/home" "$memory/memory"
: >"$memory/memory/f1"
rrm add "$T"/r/* "$memory/memory" >/dev/null
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

# Who writes without a pause keeps the turn for max_turn_ms (2000, less where many wait), and each of the others on
# that branch waits for as many such turns as are before it: that is the longest, and of many writes next to none waits at all.
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
echo
for w in 2 16; do
	quiet=$(python3 -c "$reads" "$ms" "$M" "$T/r")
	jobs=
	for i in $(seq "$w"); do
		at "$M/home" perl -e "$writes" $((2 * ms)) "$M/$(printf 'r%02d' $((i % 16)))/f$i" >/dev/null &
		jobs="$jobs $!"
	done
	sleep 0.2
	busy=$(python3 -c "$reads" "$ms" "$M" "$T/r")
	for j in $jobs; do
		wait "$j"
	done
	# Above 1 in the real tree: the processors are short for anybody. What is left is the mount's.
	echo "$quiet $busy" | awk -v w="$w" '{ printf "%-46s %6.1f us alone, %6.1f us: x%.2f; real tree %6.1f, %6.1f: x%.2f; the mount\047s own x%.2f  goal 1.5\n",
		"read in the mount beside " w " writers, p99", $1, $3, $3 / $1, $2, $4, $4 / $2, $3 / $1 / ($4 / $2) }'
done

# awk: of lines "before after", a, b, and their differences d and ratios r
ratios='function median(v, c, i, j, t) { for (i = 1; i <= c; i++) for (j = i + 1; j <= c; j++) if (v[j] < v[i]) { t = v[i]; v[i] = v[j]; v[j] = t }
	return v[int((c + 1) / 2)] }
	{ a[NR] = $1; b[NR] = $2; d[NR] = $2 - $1; r[NR] = $2 / $1 }'

# One writer with a pause after each write: in a second mount, whose linger_ms is longer, so that it keeps the turn; in
# the first, where the turn is free then; and with somebody else who takes it in each pause. "waited" is what the turn
# takes, from asking to sending; "applied" is the gateway, which keeps the file once for each turn (undo/). Both are the
# audit's. The whole also has the processors waking up.
paced='use Time::HiRes qw(time sleep); my ($n, $every, $first, $file) = @ARGV; my $x = "x" x 1024; my $t0 = int(time) + 1; my @t;
	for my $i (0 .. $n - 1) { my $at = $t0 + ($i * $every + $first) / 1000; my $d = $at - time; sleep $d if $d > 0;
	my $b = time; open(my $f, "+<", $file) or die $!; syswrite($f, $x); close $f or die $!; push @t, time - $b }
	@t = sort { $a <=> $b } @t; printf "%.0f\n", 1e6 * $t[@t / 2]'
printf '{"linger_ms": 200}\n' >"$XDG_CONFIG_HOME/rrm/config.json"
rrm-mount "$T/l"
rm "$XDG_CONFIG_HOME/rrm/config.json"
audit() {
	cat "$RRM_HOME"/repos/r00-*/audit.jsonl
}
# pace MOUNT FILE: the median of n writes, and what each waited and was applied on the average
pace() {
	seq=$(audit | tail -n 1 | jq .seq)
	whole=$(at "$1/home" perl -e "$paced" "$n" 60 0 "$1/r00/$2")
	sleep 0.5 # the record of a turn that is kept is written when it ends
	echo "$whole $(audit | jq -rs --argjson seq "$seq" --arg path "$2" 'map(select(.seq > $seq and .path == $path)) |
		(map(.writes) | add) as $n | "\((map(.wait_us) | add) / $n) \((map(.apply_us) | add) / $n)"')"
}
pace "$T/l" f3 >/dev/null
: >"$T/paced"
for _ in $(seq "$rounds"); do
	kept=$(pace "$T/l" f3)
	free=$(pace "$M" f4)
	at "$M/r01" perl -e "$paced" $((n + 20)) 60 30 "$M/r00/f2" >/dev/null &
	other=$!
	taken=$(pace "$M" f5)
	wait "$other"
	echo "$kept $free $taken" >>"$T/paced"
done
rrm-mount -u "$T/l"
# paced_row WHAT BEFORE AFTER GOAL: columns of $T/paced
paced_row() {
	cut -d' ' -f"$2,$3" "$T/paced" | awk -v what="$1" -v goal="$4" "$ratios"'
		END { printf "%-46s %6d us, %6d us: %+d us  %s\n", what, median(a, NR), median(b, NR), median(d, NR), goal }'
}
echo
paced_row 'turn kept, and free: waited' 2 5 'goal 100'
paced_row '  applied' 3 6 ''
paced_row '  the whole write' 1 4 ''
paced_row 'turn free, and another had it: waited' 5 8 'goal 100'
paced_row '  applied' 6 9 ''
paced_row '  the whole write' 4 7 ''

# create: home writes, with and without one who writes there every 100 ms from elsewhere, in a tree in memory.
create() {
	mkdir "$M/memory/c"
	at "$M/memory" rrm-workload create c "$many" 100
	rm -r "$memory/memory/c"
}
contended() {
	at "$M/home" perl -e 'while (! -e $ARGV[0]) { open(my $f, "+<", $ARGV[1]) or die $!; syswrite($f, "x") or die $!;
		close $f; select(undef, undef, undef, 0.1) }' "$T/stop" "$M/memory/f1" &
	other=$!
	sleep 0.3
	create
	: >"$T/stop"
	wait "$other"
	rm "$T/stop"
}
create >/dev/null
: >"$T/created"
for i in $(seq "$rounds"); do
	if [ $((i % 2)) = 0 ]; then # whoever is the first may have the better of it
		alone=$(create)
		wanted=$(contended)
	else
		wanted=$(contended)
		alone=$(create)
	fi
	echo "$alone $wanted" >>"$T/created"
done
awk -v n="$many" "$ratios"' END { printf "%-46s %7.1f ms alone, %7.1f ms with a contender: x%.2f  goal 1.05\n",
	"create of " n " files at home, in memory", median(a, NR) / 1000, median(b, NR) / 1000, median(r, NR) }' "$T/created"
