#!/bin/sh
# A real OpenCode that is killed is back on its port by itself, with its gateway, and nothing of the old one is
# left; rrm status says when the installed program is another one than the one that runs.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
[ -x "${RRM_OPENCODE-}" ] || die "RRM_OPENCODE must name the opencode binary; it is '${RRM_OPENCODE-}'"
mkdir "$T/bin"
install_opencode() {
	printf '#!/bin/sh\n# %s\nexec "%s" "$@"\n' "$1" "$RRM_OPENCODE" >"$T/bin/opencode.new"
	chmod +x "$T/bin/opencode.new"
	mv "$T/bin/opencode.new" "$T/bin/opencode"
}
install_opencode first
write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$T/bin/opencode\",\"start_timeout_ms\":90000,
	\"memory_every_s\":1}"
make_repo a
make_repo b
start_mount
url=$(rrm ensure a)
reg=$(state_dir a)/registry.json
pid=$(jq .pid "$reg")
session=$(curl --noproxy '*' -sf -u "opencode:$(cat "$(state_dir a)/password")" -X POST \
	-H 'content-type: application/json' -d '{}' "$url/session" | jq -r .id)
jq -n '{agent: "build", model: {providerID: "x", modelID: "y"}, command: "setsid sleep 86397 >/dev/null 2>&1 & :"}' |
	curl --noproxy '*' -sf -u "opencode:$(cat "$(state_dir a)/password")" -X POST \
		-H 'content-type: application/json' -d @- "$url/session/$session/shell" >"$T/x/o"
wait_until '[ "$(pgrep -cxf "sleep 86397")" = 1 ]'

kill -9 "$pid"
wait_until "[ \"\$(jq -r 'select(.state == \"ready\") | .pid' $reg)\" != '' ] &&
	[ \"\$(jq -r .pid $reg)\" != $pid ]" 90
eq "$(jq -r .url "$reg")" "$url" 'the URL after kill -9'
eq "$(rrm ensure a)" "$url" 'what ensure says then'
eq "$(pgrep -cxf 'sleep 86397')" 0 "children of the dead one's tools"
in_repo b sh -c 'echo from b >../a/f'
eq "$(cat "$R/a/f")" 'from b' 'a write through the new gateway'
rrm status a | grep -q 'last restart: .* the backend with pid .* ended by itself; it printed: ' ||
	die "rrm status says: $(rrm status a)"

# The whole tree is in the samples: OpenCode and its gateway.
wait_until "jq -es 'map(select(.pid == $(jq .pid "$reg") and .processes >= 2 and .rss_kib > 100000)) | length > 0' \
	$(state_dir a)/memory.jsonl >/dev/null"

# An update of the program.
eq "$(rrm status --json a | jq '.[0].installed_changed')" false 'installed_changed before'
install_opencode second
rrm status --json a | jq -r '.[0] | "\(.installed_changed) \(.notice)"' >"$T/x/notice"
grep -Eqx 'true opencode [0-9.]+ runs, the installed one has changed since; rrm restart a' "$T/x/notice" ||
	die "rrm status says: $(cat "$T/x/notice")"
rrm status a | grep -q 'notice: opencode .* has changed since' || die "not in the text: $(rrm status a)"
eq "$(rrm restart a)" "$url" 'the URL after restart'
eq "$(rrm status --json a | jq '.[0].installed_changed')" false 'installed_changed after the restart'
stop_mount
