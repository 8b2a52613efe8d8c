#!/bin/sh
# rrm adds at most 8 MiB to what a repository's OpenCode needs: the share of memory (PSS) of all processes
# of a backend beside a bare `opencode serve` in the same state of use; the middle one of five each.
# needs: opencode
# timeout: 600
. "${0%/*}/lib_alone.sh"
export OPENCODE_DISABLE_MODELS_FETCH=1
write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$RRM_OPENCODE\",\"start_timeout_ms\":120000}"
all='1 2 3 4 5'

# use PORT PASSWORD DIRECTORY: what a client does first
use() {
	for u in path config agent command; do
		curl --noproxy '*' -sf -m 60 -u "opencode:$2" "http://127.0.0.1:$1/$u?directory=$3" >"$T/x/o" ||
			die "no answer to /$u"
	done
	for u in 1 2 3; do
		curl --noproxy '*' -sf -m 60 -u "opencode:$2" "http://127.0.0.1:$1/session?directory=$3" -X POST \
			-H 'content-type: application/json' -d '{}' >"$T/x/o" || die 'no session'
	done
}
# bare N: without rrm, in directories of its own, and like rrm's without npm at its first request.
bare() {
	b=$T/bare$1
	seed=$(state_dir "r$1")/config/opencode
	mkdir -p "$b/config/opencode/node_modules" "$b/tmp"
	cp "$seed/package.json" "$seed/package-lock.json" "$b/config/opencode/"
	(cd "$R/b$1" && exec env XDG_CONFIG_HOME="$b/config" XDG_DATA_HOME="$b/data" XDG_STATE_HOME="$b/state" \
		XDG_CACHE_HOME="$b/cache" TMPDIR="$b/tmp" BUN_TMPDIR="$b/tmp" OPENCODE_SERVER_PASSWORD=pw \
		OPENCODE_DISABLE_AUTOUPDATE=1 "$RRM_OPENCODE" serve --hostname 127.0.0.1 --port "2000$1") \
		>"$b/log" 2>&1 </dev/null &
	echo $! >>"$T/x/bare.pids"
	wait_until "curl --noproxy '*' -sf -m 5 -u opencode:pw http://127.0.0.1:2000$1/global/health >/dev/null" 90
	use "2000$1" pw "$R/b$1"
}
for n in $all; do
	make_repo "r$n"
	git_repo "b$n"
	check rrm ensure "r$n" >/dev/null
	state=$(state_dir "r$n")
	use "$(jq .port "$state/registry.json")" "$(cat "$state/password")" "$R/r$n"
	jq .pid "$state/registry.json" >>"$T/x/rrm.pids"
	bare "$n"
done

tree() {
	echo "$1"
	for t in $(pgrep -P "$1"); do
		tree "$t"
	done
}
# pss_of FILE: KiB of the middle one of the trees whose roots are in FILE
pss_of() {
	while read -r root; do
		for p in $(tree "$root"); do
			cat "/proc/$p/smaps_rollup"
		done | awk '/^Pss:/ { kib += $2 } END { print kib }'
	done <"$1" | sort -n | sed -n 3p
}
# The collector of garbage runs when it likes: the least of a few looks.
least=
for look in 1 2 3 4 5 6; do
	adds=$(($(pss_of "$T/x/rrm.pids") - $(pss_of "$T/x/bare.pids")))
	[ -n "$least" ] && [ "$adds" -ge "$least" ] || least=$adds
	[ "$least" -gt 8192 ] || break
	sleep 5
done
while read -r p; do
	pgrep -P "$p" -x rrm-backend
done <"$T/x/rrm.pids" >"$T/x/gateways"
say "KiB: a backend $(pss_of "$T/x/rrm.pids"), its gateway $(pss_of "$T/x/gateways"), bare $(pss_of "$T/x/bare.pids")"
[ "$least" -le 8192 ] || die "rrm adds $least KiB to each backend"
check rrm stop --all
# shellcheck disable=SC2046 # pids
kill $(cat "$T/x/bare.pids")
wait
