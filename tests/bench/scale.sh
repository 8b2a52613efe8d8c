#!/bin/sh
# What an operation costs as repositories and files get more: a table, and as a picture $1 (SVG). No time decides.
#
#	sh scale.sh PICTURE.svg ["REPOS..." ["FILES..."]]	(default "1 10 100" and "10000 100000 1000000")
#
# Programs are found on PATH: rrm, rrm-mount, rrm-workload. Everything is below $TMPDIR (default /tmp): some GiB for
# a million files.
set -eu
export LC_ALL=C.UTF-8
picture=$1
repos=${2-1 10 100} files=${3-10000 100000 1000000}
. "${0%/*}/place.sh"
own_place
echo '{"backend":"embedded"}' >"$XDG_CONFIG_HOME/rrm/config.json"

# at_home CMD...: in r1 inside the mount; prints microseconds
at_home() {
	at "$M/r1" "$@"
}
# point KIND X N: N repositories and X files in the first are there: a line "KIND X MOUNT FIRST WARM CREATE REMOVE RSS PAUSE LONGEST"
point() {
	mount_us=$(rrm-workload time rrm-mount "$T/m")
	first=$(at_home rrm-workload time find . -size +100G)
	at_home find . -size +100G
	warm=$(at_home rrm-workload time find . -size +100G)
	mkdir -p "$T/r/r1/new"
	create=$(at_home rrm-workload create new 1000 0)
	remove=$(at_home rrm-workload remove new 1000)
	pid=$(jq .server "$RRM_HOME/mount.json")
	rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")
	nodes=$(jq .nodes "$T/m/.rrm/stats")
	pauses 10 "$M/r1" | sort -n >"$T/pauses"
	rrm-mount -u "$T/m"
	awk -v k="$1" -v x="$2" -v n="$3" -v mt="$mount_us" -v f="$first" -v w="$warm" -v c="$create" -v r="$remove" -v rss="$rss" \
		-v nodes="$nodes" -v pause="$(median <"$T/pauses")" -v longest="$(tail -n 1 "$T/pauses")" \
		'BEGIN { printf "%s %d %.1f %.2f %.2f %.1f %.1f %.1f %.1f %.1f\n", k, x, mt / 1000, f / n, w / n, c / 1000,
			r / 1000, (rss * 1024 - 200 * nodes) / 1048576, pause / 1000, longest / 1000 }' >>"$T/points"
}
repo() {
	git init -q "$T/r/$1"
	rrm-workload tree "$T/r/$1" "$2" >/dev/null
	rrm add --name "$1" "$T/r/$1" >/dev/null
}
repo r1 10000
have=1
for n in $repos; do
	while [ "$have" -lt "$n" ]; do
		have=$((have + 1))
		repo "r$have" 10
	done
	point repos "$n" 10000
done
for n in $files; do
	rm -rf "$T/r/r1"/d*
	rrm-workload tree "$T/r/r1" "$n" >/dev/null
	point files "$n" "$n"
done

# --- the table and the picture --------------------------------------------------------------------

echo "kernel $(uname -r), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
echo
echo '| | mount, ms | first look, us a file | warm look, us a file | create, us | remove, us | RSS beyond 200 bytes a node, MiB | pause after kill -9 of the server: median, longest of 10, ms |'
echo '|---|---|---|---|---|---|---|---|'
awk '{ printf "| %d %s | %s | %s | %s | %s | %s | %s | %s, %s |\n", $2, $1, $3, $4, $5, $6, $7, $8, $9, $10 }' "$T/points"
awk '
function x_of(i, n) { return n > 1 ? 60 + i * 230 / (n - 1) : 60 }
function y_of(us) { us = us < 0.1 ? 0.1 : us; return 230 - 200 * (log(us) / log(10) + 1) / 5 }
function curve(kind, col, color,    i, text) {
	for (i = 0; i < n[kind]; i++)
		text = text " " (x_of(i, n[kind]) + (kind == "files" ? 330 : 0)) "," y_of(v[kind, i, col])
	printf "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"%s\"/>\n", color, text
}
{ k = $1; i = n[k]++; for (c = 2; c <= 8; c++) v[k, i, c] = $c }
END {
	print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"680\" height=\"290\" font-family=\"sans-serif\" font-size=\"11\">"
	print "<rect width=\"680\" height=\"290\" fill=\"white\"/>"
	split("repos files", kinds, " ")
	for (j = 1; j <= 2; j++) {
		k = kinds[j]
		for (e = -1; e <= 4; e++) {
			printf "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"#ddd\"/>", 60 + (j - 1) * 330, 290 + (j - 1) * 330,
				y_of(10 ^ e), y_of(10 ^ e)
			printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%g us</text>\n", 55 + (j - 1) * 330, y_of(10 ^ e) + 4, 10 ^ e
		}
		for (i = 0; i < n[k]; i++)
			printf "<text x=\"%d\" y=\"248\" text-anchor=\"middle\">%d</text>\n", x_of(i, n[k]) + (j - 1) * 330, v[k, i, 2]
		printf "<text x=\"%d\" y=\"264\" text-anchor=\"middle\">%s</text>\n", 175 + (j - 1) * 330,
			k == "repos" ? "repositories (10000 files in one)" : "files in one repository"
		curve(k, 4, "#c33"); curve(k, 5, "#3a3"); curve(k, 6, "#36c"); curve(k, 7, "#a3a")
	}
	print "<text x=\"60\" y=\"282\" fill=\"#c33\">first look at a file</text><text x=\"200\" y=\"282\" fill=\"#3a3\">warm look</text>"
	print "<text x=\"300\" y=\"282\" fill=\"#36c\">create</text><text x=\"380\" y=\"282\" fill=\"#a3a\">remove</text></svg>"
}' "$T/points" >"$picture"
