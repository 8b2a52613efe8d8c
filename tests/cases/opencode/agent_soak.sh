#!/bin/sh
# Ten agents in ten repositories write into each other for RRM_SOAK_S seconds (60), by tools and by shell:
# nothing is lost, nothing hangs, nothing is left running; the audit has every write. Prints how long one
# foreign write by a tool took.
# needs: opencode
# timeout: 1500
. "${0%/*}/../lib.sh"
. "$case_dir/lib_agent.sh"
lock_timeout_ms=120000
seconds=${RRM_SOAK_S-60}
all='r0 r1 r2 r3 r4 r5 r6 r7 r8 r9'
# shellcheck disable=SC2086 # names
start_agents $all

# round NAME N TO: the steps of one request, a line each: a file of its own in TO by a tool, changed and patched by
# shell; a line in a file that all write to; a file that comes and goes; a commit at home.
round() {
	rd=$M/$3/from-$1
	call write "$(jq -nc --arg f "$rd/$2.txt" --arg c "$1 $2
" '{filePath: $f, content: $c}')"
	call edit "$(jq -nc --arg f "$rd/$2.txt" --arg a "$1 $2" --arg b "$1 $2 edited" '{filePath: $f, oldString: $a, newString: $b}')"
	bash_call "echo 'shell $2' >>'$rd/$2.txt' && echo '$1 $2' >>'$M/$3/SHARED' && echo x >'$rd/tmp' && mv '$rd/tmp' '$rd/gone' && rm '$rd/gone'"
	call write "$(jq -nc --arg f "$M/$1/home.txt" --arg c "$2" '{filePath: $f, content: $c}')"
	echo "$3 $1 $2" >>"$T/x/wrote.$1"
}

# agent NAME: requests until the time is over, each to the next of the others.
agent() {
	ag_others=$(echo "$all" | tr ' ' '\n' | grep -vx "$1")
	ag_sid=$(session "$1")
	ag_n=0
	while [ "$(date +%s)" -lt "$end" ]; do
		for ag_to in $ag_others; do
			ag_n=$((ag_n + 1))
			round "$1" "$ag_n" "$ag_to" >"$T/x/steps.$1"
			ask_max=400 ask_steps "$1" "$ag_sid" "$T/x/steps.$1"
			[ "$(date +%s)" -lt "$end" ] || break
		done
	done
	tools "$1" "$ag_sid" '[.tool, .state.status, (.state.error // .state.output | tostring | .[:300]),
		(.state.time.end - .state.time.start), (.state.metadata.exit // 0)]' >"$T/x/tools.$1"
}

end=$(($(date +%s) + seconds))
jobs=
for n in $all; do
	agent "$n" &
	jobs="$jobs $!"
done
for j in $jobs; do
	wait "$j" || die 'an agent failed'
done

cat "$T"/x/tools.* | jq -rc 'select(.[1] != "completed" or .[4] != 0)' >"$T/x/failed"
[ ! -s "$T/x/failed" ] || die "tool calls failed: $(wc -l <"$T/x/failed"), as $(head -n 3 "$T/x/failed")"
cat "$T"/x/wrote.* >"$T/x/wrote"
[ "$(wc -l <"$T/x/wrote")" -ge 10 ] || die "only $(wc -l <"$T/x/wrote") rounds"
check rrm stop --all >/dev/null
for n in $all; do
	audit "$n" 'select(.result == "ok") | "\(.actor.home) \(.actor.session[:4]) \(.path)"' >"$T/x/audit"
	check rrm log "$n" --verify >/dev/null
	while read -r to from i; do
		[ "$to" = "$n" ] || continue
		eq "$(tr '\n' , <"$R/$n/from-$from/$i.txt")" "$from $i edited,shell $i," "$n/from-$from/$i.txt"
		grep -qxF "$(repo_id "$from") ses_ from-$from/$i.txt" "$T/x/audit" || die "no record of $from's $i.txt in $n"
	done <"$T/x/wrote"
	# In any order, each line once.
	eq "$(sort "$R/$n/SHARED" 2>/dev/null)" "$(sed -n "s/^$n //p" "$T/x/wrote" | sort)" "$n/SHARED"
	eq "$(find "$R/$n" -name gone -o -name tmp)" '' "left in $n"
	eq "$(audit_count "$n" '.result != "ok"')" 0 "failures in the audit of $n"
done
say "soak: $(wc -l <"$T/x/wrote") rounds; a foreign write by a tool took $(cat "$T"/x/tools.* | jq -r 'select(.[0] == "write") | .[3]' |
	sort -n | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] " ms, the slowest " t[NR] " ms" }')"
# Of this case only the model and the mount still run.
for p in $(pids_of_case); do
	tr '\0' ' ' 2>/dev/null <"/proc/$p/cmdline" || :
	echo
done 2>/dev/null | grep -v -e model.mjs -e rrm-mount -e "^sh " -e "^timeout " -e "^ *\$" >"$T/x/left" || :
eq "$(cat "$T/x/left")" '' 'left running'
stop_mount
