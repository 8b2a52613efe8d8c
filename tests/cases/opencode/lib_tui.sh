# For the cases with OpenCode's terminal interface: sourced after lib.sh. Each TUI is a window of a tmux server
# of the case's own, 120x35.
# shellcheck shell=sh
[ -x "${RRM_OPENCODE-}" ] ||
	die "RRM_OPENCODE must name the opencode binary of the pinned npm package; it is '${RRM_OPENCODE-}'"
# The real program under its own name, as on a user's PATH.
mkdir -p "$T/real"
[ -e "$T/real/opencode" ] || ln -s "$RRM_OPENCODE" "$T/real/opencode"
PATH=$T/real:$PATH
unset TMUX TMUX_PANE OPENCODE_CONFIG_CONTENT
export TERM=xterm-256color OPENCODE_DISABLE_AUTOUPDATE=1
write_config '{"start_timeout_ms": 120000, "lock_timeout_ms": 120000}'

tm() {
	tmux -f /dev/null -S "$T/x/tmux" "$@"
}

# The server has the case's mark, so nothing of it may be left when the case ends.
tui_exit() {
	tui_status=$?
	set +e
	tui_kill_all
	(exit "$tui_status")
	case_end
}
trap tui_exit EXIT

# tui_start NAME DIR CMD...: a window called NAME that runs CMD in DIR, and stays when it has ended.
tui_start() {
	ts_name=$1 ts_dir=$2
	shift 2
	if tm has-session -t =main 2>/dev/null; then
		tm new-window -d -t =main: -n "$ts_name" -c "$ts_dir" "$@"
	else
		tm new-session -d -s main -x 120 -y 35 -n "$ts_name" -c "$ts_dir" "$@"
		tm set-option -g remain-on-exit on
		tm set-option -g default-size 120x35
	fi
}

# All TUIs end, and whatever they have started beside them.
tui_kill_all() {
	tm kill-server 2>/dev/null
	tk_end=$(($(date +%s) + 60))
	while tk_pids=$(pids_of_tuis) && [ -n "$tk_pids" ] && [ "$(date +%s)" -lt "$tk_end" ]; do
		sleep 0.1
	done
	# shellcheck disable=SC2086 # a list of pids
	[ -z "$tk_pids" ] || kill -9 $tk_pids 2>/dev/null
}

# The tmux server, what runs in its windows, and the watchers of `rrm attach`; not the backends.
pids_of_tuis() {
	for pt in $(pids_of_case); do
		case $(tr '\0' ' ' 2>/dev/null <"/proc/$pt/cmdline") in
		*"/opencode serve "* | 'sh '* | 'timeout '* | '') ;;
		tmux* | */opencode* | *"rrm attach"* | *"rrm shim run"*) echo "$pt" ;;
		esac
	done
}

tui_screen() {
	tm capture-pane -p -t "=main:=$1"
}

tui_lives() {
	[ "$(tm display-message -p -t "=main:=$1" '#{pane_dead}')" = 0 ]
}

# tui_drawn NAME: its process lives and its screen is that of a TUI at work: no error, at least ten lines, a
# prompt box, the repository NAME in the footer.
tui_drawn() {
	tui_lives "$1" || return 1
	tui_screen "$1" >"$T/x/screen.$1"
	! grep -q 'Error:' "$T/x/screen.$1" &&
		[ "$(grep -c '[^[:space:]]' "$T/x/screen.$1")" -ge 10 ] &&
		grep -q '┃' "$T/x/screen.$1" && grep -q '╹▀▀▀▀' "$T/x/screen.$1" &&
		grep '[^[:space:]]' "$T/x/screen.$1" | tail -n 1 | grep -qE "/$1(:main)?[[:space:]]"
}

tui_shows() {
	tui_screen "$1" | grep -qF -e "$2"
}

# tui_type NAME TEXT
tui_type() {
	tm send-keys -t "=main:=$1" -l "$2"
}

tui_key() {
	tm send-keys -t "=main:=$1" "$2"
}

# tui_alive NAME PROBE: drawn, and what is typed is echoed.
tui_alive() {
	tui_drawn "$1" || return 1
	tui_shows "$1" "$2" && return 0
	tui_type "$1" "$2"
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		sleep 0.1
		! tui_shows "$1" "$2" || return 0
	done
	return 1
}

# tui_await SECONDS PROBE NAME...: waits until all of them are alive; the names of those that never were are in
# $tui_dead, the milliseconds it took in $tui_ms.
tui_await() {
	ta_begun=$(date +%s%N)
	ta_end=$(($(date +%s) + $1))
	ta_probe=$2
	shift 2
	tui_dead=$*
	while [ -n "$tui_dead" ] && [ "$(date +%s)" -lt "$ta_end" ]; do
		ta_left=
		for ta in $tui_dead; do
			tui_alive "$ta" "$ta_probe" || ta_left="$ta_left $ta"
		done
		tui_dead=$ta_left
		sleep 0.1
	done
	tui_ms=$((($(date +%s%N) - ta_begun) / 1000000))
}

# tui_has NAME TEXT SECONDS
tui_has() {
	th_end=$(($(date +%s) + $3))
	until tui_shows "$1" "$2"; do
		[ "$(date +%s)" -lt "$th_end" ] || return 1
		sleep 0.1
	done
}

# tui_command NAME WORD: a command typed into its prompt is run by the backend, and the result is shown. What
# stands in the prompt, and the shell mode of an earlier try, are left first.
tui_command() {
	tui_key "$1" C-u
	tui_key "$1" Escape
	sleep 0.5
	tui_type "$1" '!'
	tui_has "$1" 'exit shell mode' 10 || return 1
	tui_type "$1" "echo $2\$((40 + 2))"
	tui_has "$1" "echo $2\$" 10 || return 1
	tui_key "$1" Enter
	tui_has "$1" "${2}42" 20
}

# tui_works NAME WORD: so it is, if not at the first try: an event stream that broke is tried again by the TUI
# after some seconds, and what happened meanwhile is not shown.
tui_works() {
	for tw in 1 2 3 4 5; do
		tui_command "$1" "$2$tw" && return 0
	done
	tui_screen "$1" >&2
	die "the TUI of $1 shows no result"
}

backend_pid() {
	jq .pid "$(state_dir "$1")/registry.json"
}

# connections_to PORT: how many are established.
connections_to() {
	awk -v p=":$(printf %04X "$1")" 'index($3, p) && $4 == "01" { n++ } END { print n + 0 }' /proc/net/tcp
}

# crash_and_go_on NAME: kill -9 of its backend: another one on the same port, and the TUI works with it.
crash_and_go_on() {
	cg_url=$(jq -r .url "$(state_dir "$1")/registry.json")
	cg_old=$(backend_pid "$1")
	kill -9 "$cg_old"
	wait_until "[ \"\$(jq -r '.pid != $cg_old and .state == \"ready\"' \"$(state_dir "$1")/registry.json\")\" = true ]" 90
	eq "$(jq -r .url "$(state_dir "$1")/registry.json")" "$cg_url" 'the URL after the crash'
	# The TUI tries again by itself. What is typed before its event stream is there again is not shown.
	wait_until "[ \"\$(connections_to ${cg_url##*:})\" -gt 0 ]" 60
	sleep 1
	check tui_lives "$1"
	tui_works "$1" BACK
}
