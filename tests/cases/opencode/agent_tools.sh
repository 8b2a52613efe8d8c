#!/bin/sh
# A real agent in a, told by a scripted model, uses its tools on b: write, edit, patch, and a shell in all the
# ways that agents use one. Each lands through b's gateway, in b's audit with home a and the session, and
# in b's git; nobody is asked for permission.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
. "$case_dir/lib_agent.sh"
start_agents a b
sid=$(session a)

# by_agent N CONDITION WHAT: b's audit has it of exactly N files and turns (a slow machine makes more than one record of
# what is several calls), all by this session of a.
by_agent() {
	eq "$(audit b "select($2 and .result == \"ok\") | [.epoch, .path]" | sort -u | wc -l)" "$1" "changes of b: $3"
	eq "$(audit_count b "$2 and (.actor.home != \"$(repo_id a)\" or .actor.session != \"$sid\")")" 0 "others' records of b: $3"
}
write_call() {
	call write "$(jq -nc --arg f "$1" --arg c "$2" '{filePath: $f, content: $c}')"
}

# The tools that write in OpenCode's own process.
ask a "$sid" "$(write_call "$M/b/made.txt" 'one
two
')" "$(call read "{\"filePath\":\"$M/b/made.txt\"}")" \
	"$(call edit "{\"filePath\":\"$M/b/made.txt\",\"oldString\":\"two\",\"newString\":\"three\"}")" \
	"$(write_call ../b/src/new.c 'int new;
')" \
	"$(write_call "$M/a/own.txt" 'at home
')"
eq "$(tool_states a "$sid" | tr '\n' ,)" \
	'write completed,read completed,edit completed,write completed,write completed,' 'write, read and edit'
eq "$(tr '\n' , <"$R/b/made.txt")" one,three, 'what write and edit made'
eq "$(cat "$R/b/src/new.c")" 'int new;' 'what write made by a relative path'
wait_until "[ \"\$(audit_count b 'true')\" -ge 3 ]"
by_agent 2 '.path == "made.txt"' 'write and edit'
by_agent 1 '.path == "src/new.c"' 'write'
eq "$(audit b '.epoch' | sort -u | wc -l)" 3 'turns of three tool calls'
wait_until "grep -q own.txt '$(state_dir a)/home.jsonl'"
eq "$(jq -r 'select(.path == "own.txt") | .actor.session' "$(state_dir a)/home.jsonl" | sort -u)" "$sid" \
	'whose home write it was'

# A patch: new, changed, moved and removed files of b, and one of a, in one call.
model=gpt-5-patches
sid=$(session a)
ask a "$sid" "$(jq -nc --arg m "$M" '{tool: "apply_patch", args: {patchText: ("*** Begin Patch
*** Add File: \($m)/b/patched/new.txt
+added
*** Update File: ../b/README.md
@@
-# b
+# b, patched
*** Update File: \($m)/b/made.txt
*** Move to: \($m)/b/moved.txt
@@
 one
-three
+four
*** Delete File: \($m)/b/src/new.c
*** Update File: README.md
@@
-# a
+# a, patched
*** End Patch")}}')"
eq "$(tool_states a "$sid")" 'apply_patch completed' "the patch ($(last_error a "$sid"))"
eq "$(cat "$R/b/patched/new.txt") $(cat "$R/b/README.md") $(tr '\n' , <"$R/b/moved.txt") $(cat "$R/a/README.md")" \
	'added # b, patched one,four, # a, patched' 'what the patch made'
for f in made.txt src/new.c; do
	[ ! -e "$R/b/$f" ] || die "the patch left $f"
done
wait_until "[ \"\$(audit_count b '.op == \"unlink\"')\" -ge 2 ]"
by_agent 2 ".op == \"unlink\" and .actor.session == \"$sid\"" 'of the patch'
by_agent 1 '.path == "patched/new.txt"' 'of the patch'
eq "$(audit b "select(.actor.session == \"$sid\") | .epoch" | sort -u | wc -l)" 1 'turns of one patch'
model=edits

# A shell.
sid=$(session a)
shell() {
	ask a "$sid" "$(bash_call "$1")"
	eq "$(tools a "$sid" '.state.metadata.exit' | tail -n 1)" 0 "exit status of '$1' ($(tools a "$sid" '.state.output' | tail -n 1))"
}
shell 'echo redirected > ../b/f1'
shell 'echo tee | tee ../b/f2 >/dev/null'
shell "sed -i 's/^1\$/ONE/' ../b/src/deep/numbers.txt"
shell 'cp README.md ../b/f3'
shell 'echo x > tomove && mv tomove ../b/f4'
shell "python3 -c 'open(\"../b/f5\", \"w\").write(\"py\\n\")'"
shell 'cd ../b && echo cd > f6 && mkdir -p d && echo deep > d/f7'
shell "printf 'sh\n' | sh -c 'cat > ../b/f8'"
shell 'git -C ../b add -A && git -C ../b commit -qm "by an agent"'
shell "cd ../b && (setsid sh -c 'while [ ! -e $T/x/go ]; do sleep 0.05; done; echo late > f9; echo done > $T/x/late' >/dev/null 2>&1 &)"
[ ! -e "$R/b/f9" ] || die 'the background child did not wait'
: >"$T/x/go"
wait_until "[ -e '$T/x/late' ]"
for f in 'f1 redirected' 'f2 tee' 'f3 # a, patched' 'f4 x' 'f5 py' 'f6 cd' 'd/f7 deep' 'f8 sh' 'f9 late'; do
	eq "$(cat "$R/b/${f%% *}")" "${f#* }" "content of ${f%% *}"
done
eq "$(sed -n 1p "$R/b/src/deep/numbers.txt")" ONE 'what sed -i made'
[ ! -e "$R/a/tomove" ] || die 'mv left its source'
wait_until "[ \"\$(audit_count b '.path == \"f9\"')\" = 1 ]"
for f in f1 f2 f3 f4 f5 f6 d d/f7 f8 f9; do
	eq "$(audit b "select(.path == \"$f\") | .actor | \"\(.home) \(.session)\"" | sort -u)" "$(repo_id a) $sid" "who made $f"
done
by_agent 1 '.op == "rename" and .path2 == "src/deep/numbers.txt"' 'sed -i'
eq "$(audit_count b '.path2 == ".git/refs/heads/main" or .path2 == ".git/index"')" 3 'git add and commit in the audit'
eq "$(git -C "$R/b" log -1 --format=%s)" 'by an agent' "b's last commit"
eq "$(git -C "$R/b" status --porcelain)" '?? f9' "git's word on b"
eq "$(git -C "$R/b" fsck 2>&1)" '' 'git fsck of b'

# b's OpenCode does not run: the write starts it, while the tool has b's turn.
check rrm stop b >/dev/null
ask a "$sid" "$(write_call "$M/b/woken.txt" woken)"
eq "$(tool_states a "$sid" | tail -n 1) $(cat "$R/b/woken.txt")" 'write completed woken' "while b was stopped ($(last_error a "$sid"))"

eq "$(api a "/permission?directory=$M/a")" '[]' 'open questions'
wait_until "[ -z \"\$(find '$(state_dir a)/turns' -type f 2>/dev/null)\" ]" # no turn is announced any more
check rrm log b --verify >/dev/null
wait_until "! pgrep -P '$(jq .pid "$(state_dir a)/registry.json")' -x rrm >/dev/null" # rrm lock ends when it gave back
stop_mount
