#!/bin/sh
# 64 writers in 16 repositories, at home and across, under rrm lock and by rrm write, while writers, holders of
# turns and backends are killed and branches are switched: nothing is torn, lost or doubled, no two write sessions
# of a branch overlap, every call ends, readers do not wait. RRM_STRESS_S: how long (default 30; by hand 300).
# timeout: 900
. "${0%/*}/../lib.sh"
write_config '{"start_timeout_ms": 60000}'
i=0
while [ $i -lt 16 ]; do
	r=$(printf 'r%02d' $i)
	make_repo "$r"
	echo /d >>"$R/$r/.git/info/exclude"
	# What waits to make a name keeps the kernel's lock of that directory (docs/ARCHITECTURE.md), also from
	# those who have the turn: all names are there, in a directory of their own.
	mkdir "$R/$r/d"
	: >"$R/$r/d/log"
	: >"$R/$r/d/locked"
	git -C "$R/$r" checkout -q -b other
	echo other >>"$R/$r/README.md"
	git -C "$R/$r" commit -qam other
	git -C "$R/$r" checkout -q main
	i=$((i + 1))
done
# With sanitizers everything takes several times as long: right or wrong stays the same, how long does not.
slow=1
! ldd "$(command -v rrm)" | grep -q 'lib[at]san' || slow=4
start_mount
stress() {
	python3 "$case_dir/turn_stress.py" "$M" "$R" "$S" "$T/tmp" "${RRM_STRESS_S-30}" "$slow" "$1"
}
check stress run
wait_until "! [ -e '$S/turns.json' ]" 60
eq "$(jq -r .pid "$S/mount.json")" "$mount_pid" 'the mount lives'
# What a killed rrm lock left running ends by itself.
wait_until "[ \"\$(pids_of_case | grep -cvx -e $mount_pid -e \"\$(cat \"\$S\"/repos/*/registry.json | jq -r .pid | paste -sd'|')\")\" -lt 50 ]" 60
stop_mount
check rrm stop --all >/dev/null
check stress check
# One that was killed while LeakSanitizer looked leaves half a sentence of it, without a summary.
grep -L SUMMARY "$T"/x/asan.* 2>/dev/null | xargs -r rm
for r in $(seq -f 'r%02g' 0 15); do
	check rrm log "$r" --verify >/dev/null
	eq "$(git -C "$R/$r" fsck 2>&1 | grep -v dangling || true)" '' "git fsck of $r"
done
