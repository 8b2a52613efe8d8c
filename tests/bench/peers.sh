#!/bin/sh
# needs: root
# The rows of the benchmark for all file systems that do the like, each over a tree of its own, alternating, in
# one run: the ratio of the median to that of the plain tree. Each in its best configuration (below) that writes
# through: what write(2) reported as done is in the tree below.
#
#	sh peers.sh [--smoke] [--cold] [--files N] [ROUNDS]		(7 rounds, 30000 files)
#
# The column "floor" is no peer but a bare server of /dev/fuse (floor.c says what it leaves out).
#
# Programs are found on PATH: rrm, rrm-mount, rrm-workload, rrm-bench-floor, and as far as they are there mergerfs, bindfs,
# fuse-overlayfs. RRM_PEERS: some of the columns only. RRM_LIBFUSE: a source tree of libfuse, whose examples passthrough_ll and passthrough_hp are built and
# measured. io_uring is switched on while its column is measured. Some GiB below $TMPDIR (default /tmp).
set -eu
export LC_ALL=C.UTF-8
files=30000 rounds=7 cold=no smoke=no
while [ $# -gt 0 ]; do
	case $1 in
	--smoke) smoke=yes ;;
	--cold) cold=yes ;;
	--files)
		files=$2
		shift
		;;
	[1-9]*) rounds=$1 ;;
	*)
		sed -n '3,14s/^# \{0,1\}//p' "$0"
		exit 2
		;;
	esac
	shift
done
many=$((files / 3)) mib=256 switched=$((files / 6))
[ "$smoke" = no ] || files=600 many=100 mib=4 switched=200 rounds=1
. "${0%/*}/rows.sh"
w=.git/work

. "${0%/*}/place.sh"
own_place "$([ "$smoke" = no ] || echo small)"
echo '{"backend":"embedded"}' >"$XDG_CONFIG_HOME/rrm/config.json"
switch=/sys/module/fuse/parameters/enable_uring
was=$(cat "$switch" 2>/dev/null || echo none)
# The floor never sleeps, so it is stopped while others are measured.
turn_of() {
	[ -z "${floor-}" ] || kill "-$([ "$1" = floor ] && echo CONT || echo STOP)" "$floor" 2>/dev/null || true
}
before_leave() {
	turn_of floor
	for d in "$T"/*/m; do
		case $d in */rrm*/m) RRM_HOME=${d%/m}/s rrm-mount -u "$d" >/dev/null 2>&1 || true ;; esac
		umount -l "$d" 2>/dev/null || true
	done
	[ "$was" = none ] || echo "$was" >"$switch"
}

# --- the trees and who shows them -----------------------------------------------------------------

mkdir "$T/native"
big_repo "$T/native/a"
git -C "$T/native/a" status >/dev/null
tar -C "$T/native" --exclude=.git -cf "$T/a.tar" a
git clone -q --bare "$T/native/a" "$T/clone.git"
work_material
if [ -d "${RRM_LIBFUSE-}" ]; then
	meson setup --buildtype=release -Dexamples=true -Dtests=false -Dutils=false "$T/fuse" "$RRM_LIBFUSE" >"$T/build.log" 2>&1 &&
		ninja -C "$T/fuse" >>"$T/build.log" 2>&1 || echo 'the examples of libfuse could not be built' >&2
	PATH=$T/fuse/example:$PATH
fi

rrm_side() {
	export RRM_HOME="$1/s" RRM_TRANSPORT="$2"
	[ "$2" != uring ] || echo Y >"$switch"
	rrm add --name a "$1/r/a" >/dev/null && rrm-mount "$1/m"
}
# begin SIDE: shows $T/SIDE/r at $T/SIDE/m. Fails where there is no such program.
begin() {
	d=$T/$1
	case $1 in
	rrm) rrm_side "$d" dev ;;
	rrm-uring) [ "$was" != none ] && rrm_side "$d" uring ;;
	mergerfs) mergerfs -o cache.files=auto-full,cache.attr=86400,cache.entry=86400,cache.negative_entry=86400 \
		-o cache.readdir=true,cache.symlinks=true,cache.statfs=60,async_read=true,dropcacheonclose=false,security_capability=false \
		-o fsname=peer "$d/r" "$d/m" ;;
	bindfs) bindfs --multithreaded -o kernel_cache,attr_timeout=86400,entry_timeout=86400,negative_timeout=86400 "$d/r" "$d/m" ;;
	fuse-overlayfs) fuse-overlayfs -o "lowerdir=$d/e,upperdir=$d/r,workdir=$d/w,timeout=86400,noacl" "$d/m" ;;
	overlayfs) mount -t overlay peer -o "lowerdir=$d/e,upperdir=$d/r,workdir=$d/w" "$d/m" ;;
	passthrough_ll) passthrough_ll -o "source=$d/r,cache=always,timeout=86400,no_flock" "$d/m" ;;
	passthrough_hp) passthrough_hp "$d/r" "$d/m" ;;
	floor)
		rrm-bench-floor "$d/r" "$d/m" &
		floor=$!
		for i in 1 2 3 4 5 6 7 8 9 10; do
			! mountpoint -q "$d/m" || break
			sleep 0.1
		done
		;;
	esac
}
sides=native
for side in ${RRM_PEERS-rrm rrm-uring overlayfs mergerfs bindfs fuse-overlayfs passthrough_ll passthrough_hp floor}; do
	mkdir -p "$T/$side/r" "$T/$side/m" "$T/$side/e" "$T/$side/w"
	cp -a "$T/native/a" "$T/$side/r/a"
	if begin "$side" >"$T/$side.log" 2>&1 && [ -e "$T/$side/m/a/d1" ]; then
		sides="$sides $side"
	else
		echo "$side: not measured ($(tail -n 1 "$T/$side.log"))" >&2
		rm -rf "$T/$side/r"
	fi
done

turn_of native

# --- the table ------------------------------------------------------------------------------------

dir_of() {
	case $1 in native) echo "$T/native/a" ;; *) echo "$T/$1/m/a" ;; esac
}
row() {
	name=$1 goal=$2 before=$3 after=$4
	shift 4
	rm -f "$T"/t.*
	i=0
	while [ $i -le "$rounds" ]; do
		for side in $sides; do
			d=$(dir_of "$side")
			turn_of "$side"
			# what one cannot do has no time in its column
			at "$d" sh -c "$before" >/dev/null 2>&1 && us=$(at "$d" "$@" 2>/dev/null) || us=
			at "$d" sh -c "$after" >/dev/null 2>&1 || true
			# the first round warms the caches
			[ $i = 0 ] || [ -z "$us" ] || echo "$us" >>"$T/t.$side"
		done
		i=$((i + 1))
	done
	n=$(median <"$T/t.native")
	printf '| %s | %s | %s |' "$name" "$goal" "$(awk -v n="$n" 'BEGIN { printf "%.1f", n / 1000 }')"
	for side in $sides; do
		[ "$side" != native ] || continue
		if [ -s "$T/t.$side" ]; then
			awk -v n="$n" -v m="$(median <"$T/t.$side")" 'BEGIN { printf " %.2f |", m / (n ? n : 1) }'
		else
			printf ' - |'
		fi
	done
	echo
}
echo "kernel $(uname -r), $(nproc) cores, $(df --output=fstype "$T" | tail -n 1), $files files, $rounds rounds," \
	"load $(cut -d' ' -f1-3 /proc/loadavg)"
echo
printf '| work | goal | native, ms |'
for side in $sides; do
	[ "$side" = native ] || printf ' %s |' "$side"
done
printf '\n|---|---|---|'
for side in $sides; do
	[ "$side" = native ] || printf -- '---|'
done
echo
read_rows
[ "$cold" = no ] || cold_rows
write_rows
work_rows
echo
echo "load at the end: $(cut -d' ' -f1-3 /proc/loadavg)"
