# For the cases that look at a terminal: sourced after lib.sh. A tmux server of the case's own.
# shellcheck shell=sh
unset TMUX TMUX_PANE NO_COLOR COLUMNS PAGER RRM_PAGER LESS
export TERM=screen-256color

tm() {
	tmux -f /dev/null -S "$T/x/tmux" "$@"
}

term_exit() {
	term_status=$?
	set +e
	tm kill-server 2>/dev/null
	(exit "$term_status")
	case_end
}
trap term_exit EXIT

# term_start NAME COLUMNS LINES CMD...: a terminal in which CMD runs, and which stays when it has ended.
term_start() {
	ts_name=$1 ts_x=$2 ts_y=$3
	shift 3
	tm new-session -d -s "$ts_name" -x "$ts_x" -y "$ts_y" \; set-option -g remain-on-exit on \; \
		set-option -g status off \; respawn-window -k "$@"
}

# screen NAME: what stands there, without empty lines.
screen() {
	tm capture-pane -p -t "$1" | grep -v '^ *$' || true
}

# sees NAME TEXT [SECONDS]: it comes to stand there.
sees() {
	wait_until "screen '$1' | grep -qF -e '$2'" "${3-20}" || die "no '$2' on: $(screen "$1")"
}

# on_terminal COLUMNS CMD...: what it prints on a terminal of that width, with its escape sequences.
on_terminal() {
	ot_columns=$1
	shift
	python3 -c '
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if not pid:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, int(sys.argv[1]), 0, 0))
    os.execvp(sys.argv[2], sys.argv[2:])
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    sys.stdout.buffer.write(data.replace(b"\r\n", b"\n"))
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))' "$ot_columns" "$@" </dev/null
}
