#!/bin/sh
# Makes docs/rrm.svg, the picture in the README, from what real programs print: sample repositories with real
# backends (OpenCode when it is on PATH, RRM_BACKEND says otherwise), a terminal of tmux, `rrm status`, `rrm log`,
# `rrm blame` and `rrm top` in it, and what then stands on its screen, as text in SVG.
#
#	PATH=$PWD/build/router:$PATH sh docs/picture.sh >docs/rrm.svg
#
# rrm, tmux, git and python3 must be on PATH. Leaves nothing behind.
set -eu
for program in rrm tmux git python3; do
	command -v "$program" >/dev/null || {
		echo "picture: $program is not on PATH" >&2
		exit 1
	}
done
tmp=$(mktemp -d /tmp/rp.XXXXXX)
columns=104
unset TMUX TMUX_PANE XDG_RUNTIME_DIR NO_COLOR
export HOME="$tmp" RRM_HOME="$tmp/s" XDG_CONFIG_HOME="$tmp/.config" TERM=screen-256color LC_ALL=C.UTF-8
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org

tm() {
	tmux -f /dev/null -S "$tmp/tmux" "$@"
}

end() {
	trap - EXIT
	tm kill-server 2>/dev/null || true
	rrm stop --all >/dev/null 2>&1 || true
	chmod -R u+rwx "$tmp"
	rm -rf "$tmp"
}
trap end EXIT
trap 'exit 1' HUP INT TERM

cd "$tmp"
mkdir -p .config/rrm
echo '{"start_timeout_ms": 300000}' >.config/rrm/config.json
for name in api auth billing docs gateway mailer search web; do
	git init -q -b main "src/$name"
	git -C "src/$name" commit -q --allow-empty -m start
	rrm add "src/$name" >/dev/null
done
for name in web api docs; do
	rrm ensure "$name" >/dev/null
done
# from HOME INTO PATH TEXT: a write by a session of another repository
from() {
	(cd "src/$1" && rrm run "$1" -- sh -c "echo '$4' | rrm write '$2/$3'")
}
from web api openapi.yaml 'paths: {}'
from docs api README.md '# api'
from api web client.ts 'export {}'
from web api openapi.yaml 'paths: {/v2: {}}'
# one holds the write turn of api for as long as it takes, another one waits for it
(cd src/docs && rrm run docs -- rrm lock api -- sh -c "touch '$tmp/held'; while [ ! -e '$tmp/done' ]; do sleep 0.1; done") &
until [ -e held ]; do sleep 0.1; done
(from auth api CHANGES 'auth v2') &
sleep 1

# screen LINES COMMAND: runs it in a terminal of that height, prints what stands there with its colours
screen() {
	tm new-session -d -s "s$1" -x "$columns" -y "$1" \; set-option -g status off \; \
		respawn-window -k "$2; sleep 100"
	sleep 4
	tm capture-pane -pe -t "s$1"
	tm kill-session -t "s$1"
}
{
	screen 17 "printf '~\$ rrm status\n'; rrm status"
	printf '\f'
	screen 12 "printf '~\$ rrm log api\n'; rrm log api -n 4 | cut -c 1-$((columns - 1)); printf '~\$ rrm blame api\n'; rrm blame api"
	printf '\f'
	screen 12 'exec rrm top -d 1'
} >screens
touch "$tmp/done"
wait

python3 -c '
import html, re, sys
columns = int(sys.argv[1])
cell, line, left = 7.8, 18, 14
names = {"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "36": "c"}
parts, y = [], 0
# A style goes on at the next line, until it is changed.
def spans(text, style):
    out = []
    for piece in re.split("(\033\\[[0-9;]*m|\033\\(B|\x0f)", text):
        if piece.startswith("\033["):
            for code in (piece[2:-1] or "0").split(";"):
                if code in ("", "0"): style = set()
                elif code == "39": style = style - set("rgyc")
                elif code == "7": style = style | {"i"}
                elif code in names: style = style | {names[code]}
        elif piece and not piece.startswith(("\033", "\x0f")):
            out.append((frozenset(style), piece))
    return out, style
for number, screen in enumerate(sys.stdin.read().split("\f")):
    lines = screen.rstrip("\n").split("\n")
    while lines and not re.sub("\033\\[[0-9;]*m", "", lines[-1]).strip():
        lines.pop()
    height = len(lines) * line + 22
    parts.append(f"<rect x=\"0\" y=\"{y}\" width=\"100%\" height=\"{height}\" rx=\"8\" fill=\"#1b1f27\"/>")
    carried = set()
    for row, text in enumerate(lines):
        x, base, at = 0, y + 25 + row * line, []
        found, carried = spans(text, carried)
        for style, piece in found:
            width = len(piece)
            if "i" in style:
                parts.append(f"<rect x=\"{left + x * cell:.1f}\" y=\"{base - 13}\" width=\"{width * cell:.1f}\" height=\"{line}\" fill=\"#3b4557\"/>")
            if piece.strip():
                start = len(piece) - len(piece.lstrip())
                word = piece.strip()
                classes = " ".join(sorted(style - {"i"}))
                at.append(f"<tspan x=\"{left + (x + start) * cell:.1f}\"" + (f" class=\"{classes}\"" if classes else "") + f">{html.escape(word)}</tspan>")
            x += width
        if at:
            parts.append(f"<text y=\"{base}\">" + "".join(at) + "</text>")
    y += height + 12
width = columns * cell + 2 * left
print(f"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0f} {y - 12}\" width=\"{width:.0f}\">")
print("<title>rrm status, rrm log, rrm blame and rrm top</title><style>text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#d7dce5;white-space:pre}"
      ".b{font-weight:700;fill:#fff}.d{fill:#8893a5}.r{fill:#ff7b72}.g{fill:#7ee787}.y{fill:#e3b341}.c{fill:#79c0ff}</style>")
print("\n".join(parts))
print("</svg>")' "$columns" <screens
