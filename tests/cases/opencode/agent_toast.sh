#!/bin/sh
# The people at b's terminal are told, once a burst, when another repository's agent wrote there; in every
# directory that b's OpenCode serves, and after the audit began a new file; not of what b's own agent writes.
# needs: opencode
# timeout: 200
. "${0%/*}/../lib.sh"
. "$case_dir/lib_agent.sh"
start_agents a b
api b "/event?directory=$M/b" -N >"$T/x/events" &
listener=$!
api b "/event?directory=$R/b" -N >"$T/x/events2" &
listener2=$!
toasts() {
	sed -n 's/^data: //p' "$T/x/$1" | jq -rc 'select(.type == "tui.toast.show") | .properties.message'
}
wait_until "grep -q server.connected '$T/x/events' && grep -q server.connected '$T/x/events2'"

sid=$(session b)
ask b "$sid" "$(bash_call 'echo own >own.txt')"
sid=$(session a)
ask a "$sid" "$(bash_call 'for i in 1 2 3 4 5; do echo $i >../b/f$i; done')"
# told EVENTS: how many files were told.
told() {
	toasts "$1" | awk '{ n += gsub(/f[1-5]/, "&"); if (/ more$/) n += $(NF - 1) } END { print n + 0 }'
}
wait_until '[ "$(told events)" = 5 ] && [ "$(told events2)" = 5 ]'
bursts=$(toasts events | wc -l)
# Two where the machine stood still for longer than a burst, 0.7 s; the second comes 5 s after the first.
if [ "$bursts" = 2 ]; then
	eq "$(toasts events | grep -cx 'a: f[1-5, f]*')" 2 "two toasts ($(toasts events))"
else
	eq "$(toasts events)" 'a: f1, f2, f3 and 2 more' 'the toast'
fi
eq "$(toasts events2)" "$(toasts events)" 'the toast in the other directory'

# The audit is rotated by its gateway: as that does it, by a rename.
gateway=$(pgrep -P "$(jq .pid "$(state_dir b)/registry.json")" -x rrm-backend)
mv "$(state_dir b)/audit.jsonl" "$(state_dir b)/audit.1.jsonl"
kill -9 "$gateway"
wait_until "[ -s '$(state_dir b)/audit.jsonl' ] || [ -e '$(state_dir b)/audit.jsonl' ]"
# The plugin watches the new file: its inode is in the inotify of b's OpenCode.
wait_until "grep -qs ' ino:$(printf %x "$(stat -c %i "$(state_dir b)/audit.jsonl")") ' /proc/$(jq .pid "$(state_dir b)/registry.json")/fdinfo/*"
ask a "$sid" "$(bash_call 'echo again >../b/again')"
wait_until 'toasts events | grep -q again'
eq "$(toasts events | wc -l)" "$((bursts + 1))" 'toasts with the last burst'
kill "$listener" "$listener2" 2>/dev/null || :
stop_mount
