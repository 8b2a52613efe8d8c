#!/bin/sh
# A tool that writes has the write turn from before it looks at the file until it is done, formatter
# included: two sessions of one agent do not come in between each other, on different repositories they go at the same
# time. The turn is free again when the tool fails, is aborted, or its OpenCode is killed.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
. "$case_dir/lib_agent.sh"
# A formatter: what it says of FILE stands in ../b/order, and it waits for what the case tells it to.
cat >"$T/x/format" <<EOF2
echo "begin \${1##*/}" >>'$M/b/order'
: >"\$1.begun"
case \$1 in
*.slow) sleep 0.4 ;;
*.pair) for i in \$(seq 400); do [ -e "$M/b/1.pair.begun" ] && [ -e "$M/c/2.pair.begun" ] && break; sleep 0.05; done ;;
*.never) sleep 86397 ;;
esac
echo "end \${1##*/}" >>'$M/b/order'
EOF2
agents_filter=".formatter = {test: {command: [\"sh\", \"$T/x/format\", \"\$FILE\"], extensions: [\".slow\", \".never\"]},
	pair: {command: [\"sh\", \"-c\", \"exec sh $T/x/format \$1 3>&- >/dev/null\", \"sh\", \"\$FILE\"], extensions: [\".pair\"]}}"
lock_timeout_ms=20000
policy='"d":"readonly"'
make_repo d
start_agents a b c
s1=$(session a)
s2=$(session a)
s3=$(session a)

write_call() {
	call write "$(jq -nc --arg f "$1" --arg c "${2-x}" '{filePath: $f, content: $c}')"
}
# free REPO WHAT: its turn is to be had. Without being given back it would not be for hours.
free() {
	check rrm lock --timeout 60 "$1" -- true
	wait_until "! pgrep -P \"\$(jq .pid '$(state_dir a)/registry.json')\" -x rrm >/dev/null" 60
}

# In turn: a call of one session begins when that of the other has ended. A shell, which only writes, comes in
# between a slow one: the kernel's lock of the file is its while it waits, and the formatter needs that too.
jobs=
for f in a1 a2 a3 b1 b2 b3; do
	write_call "$M/b/$f.slow" >"$T/x/step.$f"
done
(ask a "$s1" "$(cat "$T/x/step.a1")" "$(cat "$T/x/step.a2")" "$(cat "$T/x/step.a3")") &
jobs="$jobs $!"
(ask a "$s2" "$(cat "$T/x/step.b1")" "$(cat "$T/x/step.b2")" "$(cat "$T/x/step.b3")") &
jobs="$jobs $!"
wait_until "[ -e '$R/b/order' ]" 90
(ask a "$s3" "$(bash_call 'for i in 1 2 3 4 5 6 7 8; do echo shell >>../b/order; done')") &
jobs="$jobs $!"
for j in $jobs; do
	wait "$j" || die 'an agent failed'
done
eq "$(tool_states a "$s1" | sort | uniq -c | tr -s ' ')" ' 3 write completed' "the first session ($(last_error a "$s1"))"
eq "$(tool_states a "$s2" | sort | uniq -c | tr -s ' ')" ' 3 write completed' "the second session ($(last_error a "$s2"))"
eq "$(tools a "$s3" '"\(.state.metadata.exit) \(.state.output)"')" '0 (no output)' 'the shell'
eq "$(grep -c shell "$R/b/order")" 8 "lines of the shell ($(tr '\n' , <"$R/b/order"))"
eq "$(awk '/^begin/ && open == "" { open = $2; next } /^end/ { if ($2 != open) print "end of " $2 " in " open; open = ""; next }
	/^begin/ && open != "" { print $0 " in " open }' "$R/b/order")" '' "what came in between ($(tr '\n' , <"$R/b/order"))"
for s in "$s1 a" "$s2 b"; do
	eq "$(audit b "select(.path | test(\"^${s#* }[123].slow\")) | .actor.session" | sort -u)" "${s% *}" "whose ${s#* }*.slow are"
done

# At the same time on two repositories: each formatter waits for the other.
(ask a "$s1" "$(write_call "$M/b/1.pair")") &
j1=$!
(ask a "$s2" "$(write_call "$M/c/2.pair")") &
j2=$!
wait "$j1" || die 'an agent failed'
wait "$j2" || die 'an agent failed'
for f in "$R/b/1.pair.begun" "$R/c/2.pair.begun"; do
	[ -e "$f" ] || die "no formatter made $f"
done
eq "$(sed -n '/pair/p' "$R/b/order" | cut -d' ' -f1 | tr '\n' ,)" begin,begin,end,end, 'two repositories at once'

# A tool that fails gives it back.
ask a "$s1" "$(call edit "{\"filePath\":\"$M/b/README.md\",\"oldString\":\"not there\",\"newString\":\"x\"}")"
eq "$(tool_states a "$s1" | tail -n 1)" 'edit error' 'an edit of what is not there'
free b

# Busy: a sentence for the model that says who has it.
mkfifo "$T/x/unlock"
rrm lock b -- sh -c "echo >'$T/x/locked'; read x <'$T/x/unlock'" &
locker=$!
wait_until "[ -e '$T/x/locked' ]"
ask a "$s1" "$(write_call "$M/b/busy.txt")"
last_error a "$s1" >"$T/x/busy"
for part in 'the write turn of b (main) was not free within 20000 ms' 'sh pid' 'since' 'try again later'; do
	grep -qF "$part" "$T/x/busy" || die "the model was told '$(cat "$T/x/busy")', not '$part'"
done
[ ! -e "$R/b/busy.txt" ] || die 'it wrote without the turn'

# Readonly: the same sentence for a tool that writes files and for a command.
ask a "$s1" "$(write_call "$M/d/new.txt")" "$(bash_call 'echo 1 >../d/new.txt; mkdir ../d/new; true')"
last_error a "$s1" >"$T/x/readonly"
tools a "$s1" .state.output | tail -n 2 >>"$T/x/readonly"
eq "$(grep -c '^\(Error: \)\{0,1\}rrm: d takes no writes from other repositories (policy readonly in config.json); make this change from an agent at home there$' "$T/x/readonly")" \
	2 "times the model was told why ($(cat "$T/x/readonly"))"
git -C "$R/d" status --porcelain | diff - /dev/null || die 'd was written'

# Aborted while it waits: nobody stands in line for it any more.
(ask a "$s2" "$(write_call "$M/b/busy.txt")" || :) &
job=$!
wait_until "jq -e '.waiters[0].session == \"$s2\"' '$(state_dir b)/writer.json' >/dev/null" 60
check api a "/session/$s2/abort?directory=$M/a" -X POST >/dev/null
wait "$job" || :
wait_until "! pgrep -P \"\$(jq .pid '$(state_dir a)/registry.json')\" -x rrm >/dev/null" 60
echo go >"$T/x/unlock"
wait "$locker" || die 'rrm lock failed'
free b
[ ! -e "$R/b/busy.txt" ] || die 'an aborted call wrote'

# Aborted while it writes.
(ask a "$s1" "$(write_call "$M/b/x.never")" || :) &
job=$!
wait_until "[ -e '$R/b/x.never.begun' ]" 60
refuse rrm lock --timeout 0.2 b -- true 2>"$T/x/err"
grep -qF "$s1" "$T/x/err" || die "rrm lock does not say which session has it: $(cat "$T/x/err")"
check api a "/session/$s1/abort?directory=$M/a" -X POST >/dev/null
wait "$job" || :
free b

# Killed while it writes.
s4=$(session a)
(ask a "$s4" "$(write_call "$M/b/y.never")" || :) 2>/dev/null &
job=$!
wait_until "[ -e '$R/b/y.never.begun' ]" 60
kill -9 "$(jq .pid "$(state_dir a)/registry.json")"
check rrm lock --timeout 60 b -- true
wait "$job" || :
check rrm ensure a >/dev/null
s5=$(session a)
ask a "$s5" "$(write_call "$M/b/after.txt" again)"
eq "$(cat "$R/b/after.txt")" again 'what the next OpenCode wrote'
check rrm log b --verify >/dev/null
check rrm stop --all >/dev/null
[ "$(pgrep -cf '^sleep 86397')" = 0 ] || die 'a formatter still runs'
stop_mount
