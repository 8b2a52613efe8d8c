#!/bin/sh
# `rrm attach` for twelve repositories at once: twelve screens that live, none blank, in each of RRM_ROUNDS (5)
# cold starts. kill -9 of a backend: it is back on its port and the TUI goes on, with and without the mount.
# needs: opencode
# timeout: 1500
. "${0%/*}/../lib.sh"
. "$case_dir/lib_tui.sh"
limit_s=180 # 60 on two cores that are ours alone
names='r01 r02 r03 r04 r05 r06 r07 r08 r09 r10 r11 r12'
for n in $names; do
	make_repo "$n"
done

round=0
while [ "$round" -lt "${RRM_ROUNDS-5}" ]; do
	round=$((round + 1))
	if [ "$round" = "${RRM_ROUNDS-5}" ]; then
		start_mount
	fi
	for n in $names; do
		tui_start "$n" "$R/$n" rrm attach
	done
	# shellcheck disable=SC2086 # a list of names
	tui_await "$limit_s" "probe$round" $names
	say "round $round: all alive after $tui_ms ms"
	for n in $tui_dead; do
		say "$n:"
		tui_screen "$n" >&2
	done
	eq "$tui_dead" '' "screens that are not alive after $limit_s s in round $round"
	eq "$(rrm status --json | jq -r '[.[].pid] | unique | length')" 12 'backends'
	case $round in
	1) crash_and_go_on r05 ;;
	"${RRM_ROUNDS-5}")
		wait_until "tui_shows r07 '$M/r07'"
		crash_and_go_on r07
		;;
	esac
	tui_kill_all
	check rrm stop --all
	# The next round starts as cold as the first.
	for n in $names; do
		rm -rf "$(state_dir "$n")/data" "$(state_dir "$n")/state" "$(state_dir "$n")/cache"
	done
done
eq "$(pids_of_tuis)" '' 'processes that outlived their TUI'
stop_mount
