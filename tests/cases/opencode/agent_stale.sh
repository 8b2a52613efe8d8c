#!/bin/sh
# What changed since a session read it is not written over: the tool fails, and the model is told who changed it,
# when, from which repository, and to read it again. What the session changed itself is no reason to fail.
# Permission that a person is asked for is asked without the turn, and no longer when the file has changed.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
. "$case_dir/lib_agent.sh"
agents_filter='.permission = {edit: {"*": "allow", "*asked*": "ask"}}'
start_agents a b

write_call() {
	call write "$(jq -nc --arg f "$1" --arg c "$2" '{filePath: $f, content: $c}')"
}
read_call() {
	call read "$(jq -nc --arg f "$1" '{filePath: $f}')"
}
edit_call() {
	call edit "$(jq -nc --arg f "$1" --arg a "$2" --arg b "$3" '{filePath: $f, oldString: $a, newString: $b}')"
}
# told SESSION PART...: the model's last error has each of them.
told() {
	last_error a "$1" >"$T/x/told"
	shift
	for t; do
		grep -qF -e "$t" "$T/x/told" || die "the model was told '$(cat "$T/x/told")', not '$t'"
	done
}

# An agent of b changes what an agent of a has read.
sid=$(session a)
other=$(session b)
ask a "$sid" "$(read_call "$M/b/README.md")"
ask b "$other" "$(write_call "$M/b/README.md" '# b, by its own')"
ask a "$sid" "$(edit_call "$M/b/README.md" '# b' '# ruined')"
told "$sid" 'b/README.md was changed since this session read it' 'of repository b' "session $other" 'read it again'
eq "$(cat "$R/b/README.md")" '# b, by its own' 'what must not be written over'
# Read again, it may.
ask a "$sid" "$(read_call "$M/b/README.md")" "$(edit_call "$M/b/README.md" 'by its own' 'and a')" \
	"$(write_call "$M/b/README.md" '# twice')"
eq "$(tool_states a "$sid" | tail -n 2 | tr '\n' ,)" 'edit completed,write completed,' 'after reading it again'
eq "$(cat "$R/b/README.md")" '# twice' 'what was made then'

# Foreign to both: an agent of b wrote into a, whose audit says so.
ask a "$sid" "$(read_call "$M/a/src/main.c")"
ask b "$other" "$(bash_call 'echo "// from b" >>../a/src/main.c')"
ask a "$sid" "$(write_call "$M/a/src/main.c" gone)"
told "$sid" 'a/src/main.c was changed' 'by bash of repository b' "session $other"
# Outside of the mount: nobody knows who.
ask a "$sid" "$(read_call "$M/a/link.c")"
echo '// by hand' >>"$R/a/src/main.c"
wait_until "grep -q 'by hand' '$M/a/src/main.c'" # the mount is told by inotify
ask a "$sid" "$(write_call "$M/a/src/main.c" gone)"
told "$sid" 'was changed' 'a program that rrm did not see'
rm "$R/b/README.md"
wait_until "[ ! -e '$M/b/README.md' ]"
ask a "$sid" "$(write_call "$M/b/README.md" back)"
told "$sid" 'b/README.md was removed'
eq "$(grep -c gone "$R/a/src/main.c")" 0 'a/src/main.c'
# Only touched: the same content is the same view.
ask a "$sid" "$(read_call "$M/a/src/main.c")"
touch "$R/a/src/main.c"
ask a "$sid" "$(edit_call "$M/a/src/main.c" '// by hand' '// by agent')"
eq "$(tool_states a "$sid" | tail -n 1)" 'edit completed' "after touch ($(last_error a "$sid"))"
# By the session's own shell, at home and abroad.
ask a "$sid" "$(read_call "$M/b/src/main.c")" "$(bash_call 'sed -i s/return/RETURN/ src/main.c ../b/src/main.c')" \
	"$(edit_call "$M/a/src/main.c" RETURN return)" "$(edit_call "$M/b/src/main.c" RETURN return)"
eq "$(tool_states a "$sid" | tail -n 2 | tr '\n' ,)" 'edit completed,edit completed,' "after its own sed ($(last_error a "$sid"))"

# A person is asked, and takes his time.
echo one >"$R/b/asked.txt"
question() {
	wait_until "api a '/permission?directory=$M/a' | jq -e 'length == 1' >/dev/null" 60
	api a "/permission?directory=$M/a" | jq -r '.[0].id'
}
ask a "$sid" "$(read_call "$M/b/asked.txt")"
(ask a "$sid" "$(edit_call "$M/b/asked.txt" one two)") &
job=$!
q=$(question)
check rrm lock --timeout 10 b -- true
check api a "/permission/$q/reply?directory=$M/a" -d '{"reply":"once"}' >/dev/null
wait "$job" || die 'the agent failed'
eq "$(cat "$R/b/asked.txt")" two 'what was allowed'
wait_until "[ -n \"\$(last_audit b 'select(.path == \"asked.txt\")')\" ]"
eq "$(last_audit b 'select(.path == "asked.txt") | .actor.session')" "$sid" 'whose write that was'
(ask a "$sid" "$(edit_call "$M/b/asked.txt" two three)") &
job=$!
q=$(question)
in_repo b sh -c 'echo other >>asked.txt'
wait "$job" || die 'the agent failed'
told "$sid" 'changed by somebody else while permission was asked'
eq "$(tr '\n' , <"$R/b/asked.txt")" two,other, 'what was changed while it was asked'
eq "$(api a "/permission?directory=$M/a")" '[]' 'open questions'
wait_until "[ -z \"\$(find '$(state_dir a)/turns' -type f)\" ]" # no turn is announced any more
stop_mount
