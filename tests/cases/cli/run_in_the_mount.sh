#!/bin/sh
# With the mount up, rrm run is at home in the repo inside it; commands find a repo by its mount path;
# a foreign write of such a session is in the log, and the chain is whole.
. "${0%/*}/../lib.sh"

make_repo web
make_repo api
start_mount
eq "$(rrm run web -- pwd)" "$M/web" 'where it runs'
eq "$(cd "$M/api/src" && rrm run -- pwd)" "$M/api" 'the repo of a working directory in the mount'
eq "$(rrm status "$M/web/src" --json | jq -r '.[0].name')" web 'a path in the mount'
rrm run web -- sh -c 'echo home >own; echo foreign >../api/theirs'
eq "$(cat "$R/web/own")" home 'the home write'
eq "$(cat "$R/api/theirs")" foreign 'the foreign write'
audit_settles api 1 '.path == "theirs"'
# by its create: what was written is a record of its own where the machine took its time in between
eq "$(rrm log api --from web --json | jq -r '[.[] | select(.path == "theirs" and .op == "create")] | length')" 1 'records from web'
rrm log api --json | jq -e '.[-1].actor.session | startswith("run-")' >/dev/null || die 'no session in the record'
check rrm log --verify >/dev/null
eq "$(rrm status api --json | jq -r '.[0].last_write.path')" theirs 'the last write in the status'
# a repo registered this moment can be run in at once
git_repo late
check rrm add "$R/late" >/dev/null
# it waits 2 s for the mount to show it, which need not be enough on a slow machine: one that did not wait is no excuse
begun=$(date +%s%N)
for try in 1 2 3 4 5 last; do
	where=$(rrm run late -- pwd 2>"$T/x/err") && break
	took_ms=$((($(date +%s%N) - begun) / 1000000))
	{ [ "$try" != last ] && [ "$took_ms" -ge 2000 ]; } || die "after $took_ms ms: $(cat "$T/x/err")"
	begun=$(date +%s%N)
done
eq "$where" "$M/late" 'a repo added a moment ago'
fails_with 'lies in the mount' rrm scan "$M"
stop_mount
eq "$(rrm run web -- pwd)" "$R/web" 'where it runs without the mount'
