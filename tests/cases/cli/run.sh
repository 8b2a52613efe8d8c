#!/bin/sh
# rrm run: at home in the repo, its exit code is the command's, signals go through, the session ends.
. "${0%/*}/../lib.sh"

make_repo web
id=$(repo_id web)
eq "$(rrm run web -- sh -c 'pwd; echo "$RRM_HOME_REPO"; echo "$PWD"')" "$R/web
$id
$R/web" 'where and who'
eq "$(cd "$R/web/src" && rrm run -- pwd)" "$R/web" 'REPO defaults to that of the working directory'
eq "$(status_of rrm run web -- sh -c 'exit 7')" 7 'exit status'
eq "$(status_of rrm run web -- sh -c 'kill -TERM $$')" 143 'ended by a signal'
eq "$(status_of rrm run web -- no-such-command)" 127 'not found'
eq "$(status_of rrm run web -- /etc/passwd)" 126 'not executable'
eq "$(status_of rrm run web)" 2 'no command'
eq "$(status_of rrm run web true)" 2 'no dashes'
eq "$(status_of rrm run none -- true)" 1 'no such repo'
eq "$(echo text | rrm run web -- cat)" text 'standard input'
eq "$(rrm run web -- sh -c 'echo "$0"' --help)" --help 'options behind -- are the command'"'"'s'

rrm run web -- sh -c 'trap "echo got >got; exit 3" TERM; echo ready >ready; while :; do sleep 0.02; done' &
pid=$!
wait_until '[ -e "$R/web/ready" ]'
eq "$(jq -r .repo_id "$S/sessions/$pid.json")" "$id" 'the session while it runs'
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
eq "$status" 3 'status after a forwarded signal'
eq "$(cat "$R/web/got")" got 'what the command saw'
eq "$(ls "$S/sessions")" '' 'sessions left'

# killed -9 it leaves an entry, which gc clears
rrm run web -- sleep 1000 &
pid=$!
wait_until '[ -e "$S/sessions/'"$pid"'.json" ]'
wait_until 'pgrep -P '"$pid"' sleep >/dev/null'
child=$(pgrep -P "$pid" sleep)
kill -9 "$pid"
wait "$pid" || true
kill -9 "$child"
check rrm gc >"$T/x/gc"
grep -q "^session .*/$pid.json" "$T/x/gc" || die "gc said: $(cat "$T/x/gc")"
eq "$(ls "$S/sessions")" '' 'sessions after gc'
eq "$(rrm gc)" 'nothing to clear' 'a second gc'
