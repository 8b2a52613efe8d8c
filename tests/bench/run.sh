#!/bin/sh
# Time of the same work in the mount and on a plain copy of the tree beside it, alternating, in one run:
# the median of each and their ratio; then what a foreign write costs, and memory. No time decides here.
#
#	sh run.sh [--smoke] [--reads] [--cold] [ROUNDS]
#
# --smoke: small sizes and one round, to see that it runs. --reads: only the rows that read (as an
# ordinary user, root runs these once more as nobody). --cold: also with all caches of the machine dropped (root).
# RRM_LIBFUSE: a source tree of libfuse, for the row that builds it. Programs are found on PATH: rrm, rrm-mount,
# rrm-workload; OpenCode is $RRM_OPENCODE, else opencode on PATH, and its rows are left out where there is
# none. Everything is below $TMPDIR (default /tmp), about 1 GiB.
set -eu
export LC_ALL=C.UTF-8
files=30000
many=10000
mib=256
switched=5000
n=2000
rounds=7
starts=300
reads=no
cold=no
for arg; do
	case $arg in
	--smoke) place=small files=600 many=100 mib=4 switched=200 n=50 rounds=1 starts=10 ;;
	--reads) reads=yes ;;
	--cold) cold=yes ;;
	[1-9]*) rounds=$arg ;;
	*)
		sed -n '5,13s/^# \{0,1\}//p' "$0"
		exit 2
		;;
	esac
done

. "${0%/*}/place.sh"
own_place "${place-}"
R=$T/r
N=$T/native
mkdir -p "$R" "$N"

# --- what is measured on --------------------------------------------------------------------------

. "${0%/*}/rows.sh"
w=.git/work
big_repo "$R/a"
cp -a "$R/a" "$N/a"
repos=a
for r in b c d e f g h i j k l; do
	mkdir "$R/$r"
	git init -q -b main "$R/$r"
	rrm-workload tree "$R/$r" $((files / 30))
	git -C "$R/$r" add -A
	git -C "$R/$r" commit -qm all
	repos="$repos $r"
done
git -C "$N/a" status >/dev/null
tar -C "$R" --exclude=.git -cf "$T/a.tar" a
git clone -q --bare "$R/b" "$T/clone.git"
git -C "$T/clone.git" gc -q
work_material
# backend KIND
backend() {
	mkdir -p "$XDG_CONFIG_HOME/rrm"
	printf '{"backend":"%s","opencode_command":"%s","start_timeout_ms":180000}\n' "$1" "${RRM_OPENCODE-opencode}" \
		>"$XDG_CONFIG_HOME/rrm/config.json"
}
backend embedded
rrm add "$R"/* >/dev/null
rrm-mount "$M"
stat() {
	jq "$1 // 0" "$M/.rrm/stats"
}

# --- rows -----------------------------------------------------------------------------------------

# row NAME GOAL BEFORE AFTER CMD...: BEFORE and AFTER (":" for none) are not timed; GOAL is the ratio, "-" for none.
row() {
	name=$1 goal=$2 before=$3 after=$4
	shift 4
	: >"$T/t.native"
	: >"$T/t.mount"
	i=0
	while [ $i -le "$rounds" ]; do
		for side in native mount; do
			case $side in native) d=$N/a ;; mount) d=$M/a ;; esac
			at "$d" sh -c "$before" >/dev/null
			us=$(at "$d" "$@")
			at "$d" sh -c "$after" >/dev/null
			# the first round warms the caches
			[ $i = 0 ] || echo "$us" >>"$T/t.$side"
		done
		i=$((i + 1))
	done
	awk -v n="$(median <"$T/t.native")" -v m="$(median <"$T/t.mount")" -v g="$goal" -v w="$name" 'BEGIN {
		printf "%-44s %10.1f %10.1f %7.2f  %s\n", w, n / 1000, m / 1000, m / (n ? n : 1), g }'
}

# The checkout of rows.sh by a process that is at home elsewhere.
foreign_checkout() {
	: >"$T/t.native"
	: >"$T/t.mount"
	i=0
	while [ $i -lt $((rounds > 3 ? 3 : rounds)) ]; do
		for to in other main; do
			native=$(at "$N/a" rrm-workload time git checkout -q $to)
			us=$(at "$M/b" rrm-workload time git -C "$M/a" checkout -q $to)
			[ $to = main ] || echo "$native" >>"$T/t.native"
			[ $to = main ] || echo "$us" >>"$T/t.mount"
		done
		i=$((i + 1))
	done
	awk -v n="$(median <"$T/t.native")" -v m="$(median <"$T/t.mount")" -v w="foreign git checkout of $switched files" \
		'BEGIN { printf "%-44s %10.1f %10.1f %7.2f  6\n", w, n / 1000, m / 1000, m / (n ? n : 1) }'
}

echo "$(rrm --version | head -n 1), kernel $(uname -r), $(nproc) cores, $(df --output=fstype "$T" | tail -n 1), as $(id -un), $rounds rounds, $(jq -r .transport "$M/.rrm/stats"), load $(cut -d' ' -f1 /proc/loadavg)"
printf '%-44s %10s %10s %7s  %s\n' '' 'native ms' 'mount ms' ratio goal
read_rows
[ "$cold" = no ] || cold_rows
if [ "$reads" = no ]; then
	write_rows
	work_rows

	echo
	# foreign NAME GOAL OP
	foreign() {
		mkdir -p "$R/b/$3" "$N/a/$3"
		{
			at "$N/a" rrm-workload latency "$3" "$3" "$n"
			at "$M/a" rrm-workload latency "$3" "../b/$3" "$n"
		} | paste -sd' ' | {
			read -r native _ p50 p99
			printf '%-44s median %6s us, p99 %6s us, native %6s us  goal %s\n' "foreign $1" "$p50" "$p99" "$native" "$2"
		}
		rm -rf "$R/b/$3" "$N/a/$3"
	}
	at "$M/a" rrm-workload latency write ../b 10 >/dev/null
	foreign '1 KiB write, open to close returned' 200 write
	foreign '1 MiB write, open to close returned' 2000 large
	foreign mkdir 120 mkdir
	foreign rename 120 rename
	foreign unlink 120 unlink
	# shellcheck disable=SC2046 # eight words
	at / rrm-workload rate 500 $(printf "$M/%s " b c d e f g h i) >/dev/null
	# shellcheck disable=SC2046
	printf '%-44s %s\n' 'foreign writes a second, 8 writers, 8 repos' \
		"$(at / rrm-workload rate 3000 $(printf "$M/%s " b c d e f g h i)), goal 20000"
	foreign_checkout
fi

echo
mkdir "$R/a/.git/work/seen"
rrm-workload seen "$R/a/.git/work/seen" "$M/a/.git/work/seen" "$n" | paste -sd' ' | awk '{
	printf "%-44s median %.1f ms, p99 %.1f ms, longest %.1f ms  goal 10\n", "a change outside is seen after", $1 / 1000, $2 / 1000, $3 / 1000 }'
for r in $repos; do
	at "$M/$r" git status >/dev/null
	# after a directory was read the kernel asks once more for its attributes (the access time)
	at "$M/$r" git --no-optional-locks status >/dev/null
	at "$M/$r" git --no-optional-locks status >/dev/null
done
# (without the option git makes and removes a lock file: two changes)
before=$(stat '.requests | del(.FORGET, .BATCH_FORGET) | add')
same=$(stat '.requests | del(.FORGET, .BATCH_FORGET) | add')
at "$M/a" git --no-optional-locks status >/dev/null
after=$(stat '.requests | del(.FORGET, .BATCH_FORGET) | add')
printf '%-44s %s  goal 0\n' 'FUSE requests of a warm git status' $((after - same - (same - before)))
pid=$(jq .server "$RRM_HOME/mount.json")
rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")
nodes=$(stat .nodes)
awk -v r="$rss" -v n="$nodes" 'BEGIN { printf "%-44s %.1f MiB with %d nodes: %.1f MiB + 200 bytes a node  goal 20\n",
	"RSS of rrm-mount, git status of 12 repos", r / 1024, n, (r * 1024 - 200 * n) / 1048576 }'

pauses "$((n < 20 ? n : 20))" "$M/a" | sort -n | awk -v n="$nodes" '{ v[NR] = $1 / 1000 } END {
	printf "%-44s median %.1f ms, longest %.1f ms with %d nodes  goal 300\n", "pause after kill -9 of the server", v[int((NR + 1) / 2)], v[NR], n }'
rrm-workload starts "$starts" rrm-mount "$M" | awk '{ printf "%-44s median %.2f ms, p99 %.2f ms  goal 20\n",
	"rrm-mount where it is mounted already", $1 / 1000, $2 / 1000 }'

# --- backends -------------------------------------------------------------------------------------

# ensure_all: of all repos at once
ensure_all() {
	# shellcheck disable=SC2086 # names
	rrm-workload time sh -c 'p=; for r; do rrm ensure "$r" & p="$p $!"; done
		for r in $p; do wait "$r" || exit 2; done' sh $repos
}
figure() {
	printf '%-44s %s\n' "$1" "$2"
}
in_ms() {
	awk -v us="$1" 'BEGIN { printf "%.1f ms", us / 1000 }'
}
# middle_mib: of the PSS in KiB on stdin
middle_mib() {
	median | awk '{ printf "%.1f MiB", $1 / 1024 }'
}
# rows of one KIND of backend
backends() {
	echo
	rrm stop --all
	backend "$1"
	figure "$1: ensure, cold" "$(in_ms "$(rrm-workload time rrm ensure b)")"
	rrm stop --all
	figure "$1: ensure, cold, 12 at once" "$(in_ms "$(ensure_all)")"
	rrm-workload starts "$starts" rrm ensure b >"$T/warm"
	rrm-workload starts "$starts" /bin/true >"$T/true"
	paste "$T/warm" "$T/true" | awk -v k="$1" '{ printf "%-44s median %.2f ms, p99 %.2f ms: %.1f times /bin/true (%.2f ms)  goal 5\n",
		k ": ensure, warm", $1 / 1000, $2 / 1000, $1 / $3, $3 / 1000 }'
	figure "$1: ensure, warm, 12 at once" "$(in_ms "$(ensure_all)")"
	figure "$1: memory of a backend (PSS)" "$(rrm status --json | jq '.[].memory.pss_kib' | middle_mib)"
	at "$M/a" rrm-workload latency write ../b "$n" | {
		read -r p50 p99
		figure "$1: foreign 1 KiB write" "median $p50 us, p99 $p99 us"
	}
}
# bare_memory: PSS of an OpenCode that nobody manages, after the request that rrm makes too
bare_memory() {
	XDG_DATA_HOME="$T/o/d" XDG_CONFIG_HOME="$T/o/c" XDG_STATE_HOME="$T/o/s" XDG_CACHE_HOME="$T/o/k" TMPDIR="$T" \
		"$1" serve --hostname 127.0.0.1 --port 0 >"$T/bare.log" 2>&1 </dev/null &
	bare=$!
	i=0
	until url=$(sed -n 's/.*listening on //p' "$T/bare.log") && [ -n "$url" ] &&
		curl --noproxy '*' -sf -m 60 "$url/path?directory=$R/b" >/dev/null; do
		i=$((i + 1))
		[ $i -lt 600 ] || break
		sleep 0.1
	done
	awk '/^Pss:/ { print $2 }' "/proc/$bare/smaps_rollup" | middle_mib
	kill $bare
	wait $bare 2>/dev/null || true
}
if [ "$reads" = no ]; then
	backends embedded
	if opencode=$(command -v "${RRM_OPENCODE-opencode}"); then
		backends opencode
		figure 'memory of a bare opencode serve (PSS)' "$(bare_memory "$opencode")"
	else
		figure 'opencode: not measured' 'there is none on PATH, and RRM_OPENCODE is not set'
	fi
	rrm stop --all
	backend embedded
fi

if [ "$(id -u)" = 0 ] && [ "$files" = 30000 ] && [ "$reads" = no ]; then
	echo
	rrm-mount -u "$M"
	rm -rf "$R" "$N"
	mkdir -m 1777 "$T/nobody"
	chmod 755 "$T"
	if setpriv --reuid=nobody --regid=nogroup --clear-groups sh -c 'command -v rrm-mount' >/dev/null 2>&1; then
		TMPDIR="$T/nobody" setpriv --reuid=nobody --regid=nogroup --clear-groups sh "$0" --reads "$rounds"
	else
		echo 'not measured as an ordinary user: nobody may not read the programs'
	fi
fi
