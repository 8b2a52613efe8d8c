#!/bin/sh
# Where an agent's tools go: real paths of registered repositories become places in the mount, so that what is
# written there is routed, also from a session in the real tree. Nobody is asked about the mount, unless the user's own
# configuration refuses it. Without a mount the paths are left alone, and the turn is held all the same.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
. "$case_dir/lib_agent.sh"
make_repo c
# The user refuses c by its real path, a part of b, and everything below /usr; asks for the rest.
agents_filter=".permission = {external_directory: {\"*\": \"ask\", \"$R/c/*\": \"deny\", \"$R/b/secret/*\": \"deny\", \"/usr/*\": \"deny\"}}"
start_agents a b
mkdir "$R/b/secret"
echo hidden >"$R/b/secret/key"

write_call() {
	call write "$(jq -nc --arg f "$1" --arg c "$2" '{filePath: $f, content: $c}')"
}
# argument_of SESSION NAME: of the last tool call, as the tool got it.
argument_of() {
	tools a "$1" ".state.input.$2" | tail -n 1
}
audited() {
	wait_until "[ \"\$(audit_count b '.path == \"$1\" and .actor.home == \"$(repo_id a)\"')\" -ge 1 ]"
}

sid=$(session a)
ask a "$sid" "$(write_call "$R/b/w.txt" one)" "$(call read "{\"filePath\":\"$R/b/w.txt\"}")" \
	"$(call edit "{\"filePath\":\"$R/b/w.txt\",\"oldString\":\"one\",\"newString\":\"two\"}")" \
	"$(call grep "{\"pattern\":\"two\",\"path\":\"$R/b\"}")" "$(call glob "{\"pattern\":\"w.*\",\"path\":\"$R/b\"}")" \
	"$(call bash "{\"command\":\"pwd; echo shell >s.txt\",\"workdir\":\"$R/b\",\"description\":\"x\"}")" \
	"$(write_call "$R/a/own.txt" one)"
eq "$(tool_states a "$sid" | sort | uniq -c | tr -s ' \n' ' ')" \
	' 1 bash completed 1 edit completed 1 glob completed 1 grep completed 1 read completed 2 write completed ' 'the tools'
eq "$(cat "$R/b/w.txt") $(cat "$R/b/s.txt")" 'two shell' 'what was written'
audited w.txt
audited s.txt
tools a "$sid" 'select(.tool == "grep" or .tool == "glob") | .state.output' >"$T/x/found"
grep -qF "$M/b/w.txt" "$T/x/found" || die "grep and glob looked elsewhere: $(cat "$T/x/found")"
eq "$(tools a "$sid" 'select(.tool == "bash") | .state.output' | head -n 1)" "$M/b" 'where the shell was'
wait_until "grep -q own.txt '$(state_dir a)/home.jsonl'"

model=gpt-5-patches
ask a "$sid" "$(jq -nc --arg r "$R" '{tool: "apply_patch", args: {patchText: "*** Begin Patch
*** Add File: \($r)/b/p.txt
+patched
*** Update File: \($r)/b/w.txt
*** Move to: \($r)/b/w2.txt
@@
-two
+three
*** End Patch"}}')"
model=edits
eq "$(tool_states a "$sid" | tail -n 1)" 'apply_patch completed' "the patch ($(last_error a "$sid"))"
eq "$(cat "$R/b/p.txt") $(cat "$R/b/w2.txt")" 'patched three' 'what the patch made'
audited p.txt

# A session that was opened in the real tree.
directory=$R/a
real=$(session a "$R/a")
ask a "$real" "$(write_call ../b/r.txt real)" "$(bash_call 'echo shell >../b/r2.txt')" "$(write_call here.txt own)"
eq "$(tool_states a "$real" | tr '\n' ,)" 'write completed,bash completed,write completed,' "from the real tree ($(last_error a "$real"))"
audited r.txt
audited r2.txt
eq "$(cat "$R/a/here.txt")" own 'its own file'
unset directory
eq "$(api a "/permission?directory=$M/a")$(api a "/permission?directory=$R/a")" '[][]' 'open questions'

# What the user refuses stays refused, by whatever path.
for path in "$R/c/x" "$M/c/x" ../c/x "$R/b/secret/x" "$M/b/secret/x" /usr/rrm-test; do
	ask a "$sid" "$(write_call "$path" x)"
	eq "$(tool_states a "$sid" | tail -n 1)" 'write error' "write of $path"
	last_error a "$sid" | grep -qi 'permission\|rule' || die "write of $path: $(last_error a "$sid")"
done
for path in "$R/c/x" "$R/b/secret/x"; do
	[ ! -e "$path" ] || die "it wrote $path, which was refused"
done

# Bad arguments are OpenCode's to refuse; paths that lead nowhere do no harm.
ask a "$sid" "$(call write '{"filePath":7,"content":"x"}')" "$(call write '{}')" \
	"$(call bash '{"command":"true","workdir":["x"],"description":"x"}')"
eq "$(tool_states a "$sid" | tail -n 3 | cut -d' ' -f2 | sort -u)" error 'bad arguments'
ask a "$sid" "$(bash_call 'echo still here')"
eq "$(tool_states a "$sid" | tail -n 1)" 'bash completed' 'after them'

# Without a mount.
stop_mount
directory=$R/a
real=$(session a "$R/a")
ask a "$real" "$(write_call "$R/a/alone.txt" alone)"
eq "$(tool_states a "$real")" 'write completed' "without a mount ($(last_error a "$real"))"
eq "$(cat "$R/a/alone.txt")" alone 'what was written without a mount'
check rrm lock --timeout 10 a -- true
