#!/bin/sh
# The disease beside the cure. Twelve plain `opencode` in twelve repositories at once that share one user's
# directories, as they do without rrm: how many of the terminals stay blank or crash in RRM_ROUNDS (2) cold
# starts, is measured and printed. Twelve `rrm attach` in the same repositories, as cold: none may.
# needs: opencode
# timeout: 1200
. "${0%/*}/../lib.sh"
. "$case_dir/lib_tui.sh"
limit_s=90
names='r01 r02 r03 r04 r05 r06 r07 r08 r09 r10 r11 r12'
for n in $names; do
	make_repo "$n"
done

# count_dead: adds $tui_dead to $blank and $crashed.
count_dead() {
	for n in $tui_dead; do
		if tui_lives "$n" && ! tui_shows "$n" 'Error'; then
			blank=$((blank + 1))
		else
			crashed=$((crashed + 1))
		fi
	done
}

round=0 alive=0 blank=0 crashed=0 cure_ms=0 disease_ms=0
while [ "$round" -lt "${RRM_ROUNDS-2}" ]; do
	round=$((round + 1))
	rm -rf "$XDG_DATA_HOME/opencode" "$XDG_STATE_HOME/opencode" "$XDG_CACHE_HOME/opencode"
	for n in $names; do
		tui_start "$n" "$R/$n" opencode
	done
	# shellcheck disable=SC2086 # a list of names
	tui_await "$limit_s" "shared$round" $names
	count_dead
	for n in $names; do
		case " $tui_dead " in *" $n "*) ;; *) alive=$((alive + 1)) ;; esac
	done
	disease_ms=$((disease_ms + tui_ms))
	tui_kill_all

	for n in $names; do
		rm -rf "$(state_dir "$n")/data" "$(state_dir "$n")/state" "$(state_dir "$n")/cache"
		tui_start "$n" "$R/$n" rrm attach
	done
	# shellcheck disable=SC2086 # a list of names
	tui_await "$((2 * limit_s))" "own$round" $names
	eq "$tui_dead" '' "terminals that are not alive with rrm, round $round"
	cure_ms=$((cure_ms + tui_ms))
	tui_kill_all
	check rrm stop --all
done
say "shared directories: of $((12 * round)) terminals $blank blank, $crashed crashed, $((disease_ms / round)) ms a round"
say "with rrm:           of $((12 * round)) terminals 0 blank, 0 crashed, $((cure_ms / round)) ms a round"
# Whether the disease shows is chance; that terminals come up at all is what the measuring needs.
[ "$alive" -gt 0 ] || die 'no terminal at all came up without rrm, so nothing was measured'
