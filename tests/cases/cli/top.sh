#!/bin/sh
# rrm top: live in a real terminal, by its keys; printed where there is none.
# timeout: 300
. "${0%/*}/../lib.sh"
. "$case_dir/lib_term.sh"
export RRM_BACKEND=embedded
# who waits below does so until it is told on the screen
write_config '{"lock_timeout_ms": 120000}'

make_repo web
make_repo api
make_repo 日本語
check rrm ensure web >/dev/null
check rrm ensure api >/dev/null
echo x | check rrm write web/f
check rrm stop 日本語

# printed
rrm top </dev/null >"$T/x/top"
eq "$(wc -l <"$T/x/top")" 5 'lines where there is no terminal'
grep -q '^web *ready *[0-9]*[KM] *[0-9.]* ' "$T/x/top" || die "rrm top printed: $(cat "$T/x/top")"
eq "$(rrm top -b -n 2 -d 1 | grep -c '^NAME')" 2 'tables with -n 2'
eq "$(rrm top -n 1 --sort name | awk 'NR > 2 { print $1 }' | paste -sd' ')" 'api web 日本語' 'sorted by name'
eq "$(rrm top -n 1 --sort name --reverse | awk 'NR > 2 { print $1 }' | paste -sd' ')" '日本語 web api' 'the other way round'
eq "$(on_terminal 80 env TERM=dumb rrm top | grep -c '^NAME')" 1 'tables on a dumb terminal'
rrm top -n 1 | grep '^web' | grep -qE ' [1-9][0-9]* +[0-9]+$' || die "no writes of web: $(rrm top -n 1)"
for bad in '-n 0' '-d 0' '--sort size' web; do
	# shellcheck disable=SC2086 # two words
	eq "$(status_of rrm top $bad)" 2 "rrm top $bad"
done
# who has the turn, and who waits
rrm lock web -- sh -c 'touch "$0/held"; while [ ! -e "$0/done" ]; do sleep 0.05; done' "$T/x" &
lock=$!
wait_until '[ -e "$T/x/held" ]'
(echo y | rrm write web/f) &
writer=$!
wait_until 'rrm status web --json | jq -e ".[0].turn.waiters | length == 1" >/dev/null'
rrm top -n 1 | grep -qE "^web .*\($lock\).* 1 +[0-9]+ +[0-9]+$" || die "the turn of web: $(rrm top -n 1)"

# live
# tmux 3.3 does not always reap what has ended in a window: the shell around it says how
# and outlives the Ctrl-C below (dash would not)
term_start top 120 20 "trap : INT; rrm top -d 1 --sort name; echo \$? >'$T/x/status'"
sees top 'h help  q quit'
sees top "($lock)"
touch "$T/x/done"
wait "$lock" "$writer"
wait_until '! screen top | grep -qF "($lock)"'
tm send-keys -t top h
sees top 'MEMORY  PSS of the process tree'
tm send-keys -t top x
sees top 'sort: name'
tm send-keys -t top o
sees top 'sort: uptime'
tm send-keys -t top R
sees top '(reversed)'
tm send-keys -t top R o o o o o
sees top 'sort: name'
# stop: asked, refused, asked, done
pid=$(rrm status api --json | jq '.[0].pid')
tm send-keys -t top Home s
sees top 'stop the backend of api? y or n'
tm send-keys -t top n
wait_until '! screen top | grep -q "y or n"'
kill -0 "$pid" || die 'stopped without a yes'
tm send-keys -t top s
sees top 'y or n'
tm send-keys -t top y
sees top 'api: stopped'
eq "$(rrm status api --json | jq -r '.[0].state')" stopped 'state after the key s'
pid=$(rrm status web --json | jq '.[0].pid')
tm send-keys -t top Down r
sees top 'restart the backend of web? y or n'
tm send-keys -t top y
sees top 'web: restarted' 60
[ "$(rrm status web --json | jq '.[0].pid')" != "$pid" ] || die 'the backend was not restarted'
# narrow, low, wide again
tm resize-window -t top -x 40 -y 8
wait_until 'screen top | grep -q "^NAME *STATE *MEMORY *CPU%" && ! screen top | grep -q WRITES/MIN'
[ "$(screen top | wc -L)" -le 40 ] || die "wider than 40: $(screen top)"
tm resize-window -t top -x 10 -y 2
tm resize-window -t top -x 120 -y 20
sees top 'WRITES/MIN'
# the log, and back
tm send-keys -t top l
sees top '  #1 create f'
echo z | check rrm write web/later
sees top 'create later'
tm send-keys -t top C-c
sees top 'WRITES/MIN'
# attach: the embedded backend has no interface, which is said
tm send-keys -t top a
sees top 'Enter goes back to rrm top'
tm send-keys -t top Enter
sees top 'WRITES/MIN'
# a repository that comes and goes
make_repo later
sees top later
tm send-keys -t top End
check rrm remove later >/dev/null
wait_until '! screen top | grep -q "^later"'
tm send-keys -t top q
wait_until '[ -s "$T/x/status" ]'
eq "$(cat "$T/x/status")" 0 'exit status'
# its terminal goes away
term_start gone 80 10 rrm top -d 1
sees gone 'h help'
top_pid=$(tm display-message -p -t gone '#{pane_pid}')
tm kill-session -t gone
wait_until '! readlink "/proc/$top_pid/exe" >/dev/null'
# a terminal that curses does not know
TERM=nonsense on_terminal 80 rrm top >"$T/x/out" && die 'rrm top on an unknown terminal'
eq "$(cat "$T/x/out")" 'rrm: this machine does not know the terminal type "nonsense"; set TERM to one that it knows, such as xterm, or use rrm top -b' 'what is said'
