#!/bin/sh
# The programs in docs/SDK.md, each as it stands there, make a session in the repository's one backend.
# needs: opencode
# timeout: 240
. "${0%/*}/../lib.sh"
. "$case_dir/lib_sdk.sh"
awk -v dir="$T" '/^```js$/ { n++; on = 1; next } /^```$/ { on = 0 } on { print >(dir "/example" n ".mjs") }
	END { exit n != 4 }' "$RRM_SRC/docs/SDK.md" || die 'docs/SDK.md has not the four examples of this case'
make_repo a
start_mount

(cd "$R/a" && check node "$T/example1.mjs") >"$T/x/ids"
pid=$(backend_pid a)
(cd "$R/a/src" && check node "$T/example2.mjs") >>"$T/x/ids"
check rrm stop a
check node "$T/example3.mjs" "$M" a >>"$T/x/ids"
[ "$(backend_pid a)" != "$pid" ] || die 'the endpoint gave a backend that was stopped'
(eval "$(rrm env a)" && check node "$T/example4.mjs") >>"$T/x/ids"

eval "$(rrm env a)"
curl -s -u "opencode:$OPENCODE_SERVER_PASSWORD" "$RRM_URL/session" >"$T/x/sessions"
eq "$(jq -r 'sort_by(.time.created) | map(.title) | join(", ")' "$T/x/sessions")" \
	'by createOpencode, by rrm ensure, by endpoint, by rrm env' 'the sessions'
eq "$(jq -r 'map(.directory) | unique | join(" ")' "$T/x/sessions")" "$M/a" 'their directories'
eq "$(jq -r '.[].id' "$T/x/sessions" | sort)" "$(sort "$T/x/ids")" 'what the examples printed'
stop_mount
