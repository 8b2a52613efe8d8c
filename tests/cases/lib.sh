# Helpers for the cases: sourced first by each of them, never run. A case is one behaviour with its own
# mount and private directories; it ends at the first check that fails, and leaves nothing behind.
#
#	. "${0%/*}/../lib.sh"
#	make_repo a; make_repo b
#	start_mount
#	in_repo a sh -c 'echo hi > ../b/f'
#	eq "$(cat "$R/b/f")" hi 'what b holds'
#
# Header lines of a case that the runner reads: "# needs: root" (not run as an ordinary user), "# not: tsan" (not in that part),
# "# timeout: SECONDS" (default 120). RRM_BIN is the directory with rrm, rrm-mount, rrm-backend (else
# they are found on PATH).
#
# A process is at home by the topmost ancestor whose working directory is in the mount, so a case
# itself stays in $T, outside of it: written from the case, a file is a foreign write of nobody's.
#
#	$T  everything of this case      $R  the real repositories, $R/NAME
#	$M  the mountpoint               $S  the state base, RRM_HOME
#	$case_dir  the directory of the case's script
# shellcheck shell=sh
# shellcheck disable=SC2034 # the variables above are for the cases
set -eu
umask 022
export LC_ALL=C.UTF-8

[ -z "${RRM_BIN-}" ] || PATH=$RRM_BIN:$PATH
export PATH

# Short: a gateway socket's whole path is at most 107 bytes.
if [ -n "${RRM_CASE_DIR-}" ]; then
	T=$RRM_CASE_DIR
	case_own_dir=no
else
	T=$(mktemp -d /tmp/rc.XXXXXX)
	case_own_dir=yes
	export RRM_TEST_CASE="$T"
fi
case_dir=$(cd "${0%/*}" && pwd -P)
R=$T/r
M=$T/m
S=$T/s
mkdir -p "$R" "$M" "$T/h" "$T/tmp" "$T/x"
export HOME="$T/h" RRM_HOME="$S" TMPDIR="$T/tmp"
export XDG_CONFIG_HOME="$T/h/.config" XDG_DATA_HOME="$T/h/.local/share"
export XDG_CACHE_HOME="$T/h/.cache" XDG_STATE_HOME="$T/h/.local/state"
export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.org
export GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@example.org
export GIT_CONFIG_NOSYSTEM=1
unset OPENCODE_PID RRM_HOME_REPO RRM_SESSION XDG_RUNTIME_DIR GIT_DIR GIT_WORK_TREE
# Sanitizers write beside the case; case_end looks whether there is anything.
export ASAN_OPTIONS="detect_leaks=1:log_path=$T/x/asan:${ASAN_OPTIONS-}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:log_path=$T/x/ubsan:${UBSAN_OPTIONS-}"
export TSAN_OPTIONS="log_path=$T/x/tsan:${TSAN_OPTIONS-}"
cd "$T"
mount_pid=
case_status=0

say() {
	printf '%s\n' "$*" >&2
}

die() {
	say "FAILED: $*"
	exit 1
}

# eq GOT WANTED WHAT
eq() {
	[ "$1" = "$2" ] || die "$3: got '$1', wanted '$2'"
}

# check CMD...: it must succeed.
check() {
	"$@" || die "status $?: $*"
}

# refuse CMD...: it must not.
refuse() {
	if "$@"; then
		die "succeeded, but should not: $*"
	fi
}

# fails_with TEXT CMD...: it must fail and say TEXT (strerror's text, or part of our sentence).
fails_with() {
	fw_text=$1
	shift
	if "$@" >"$T/x/out" 2>"$T/x/err" </dev/null; then
		die "succeeded, but should have said '$fw_text': $*"
	fi
	grep -qF -e "$fw_text" "$T/x/err" || die "said '$(cat "$T/x/err")', not '$fw_text': $*"
}

# status_of CMD...: prints its exit status; what it says is in $T/x/out and $T/x/err.
status_of() {
	so=0
	"$@" >"$T/x/out" 2>"$T/x/err" </dev/null || so=$?
	echo "$so"
}

# wait_until 'SHELL CONDITION' [SECONDS]: polls; fails when it is not true in time (default 20).
wait_until() {
	wu_end=$(($(date +%s) + ${2-20}))
	until eval "$1"; do
		[ "$(date +%s)" -lt "$wu_end" ] || die "not true after ${2-20} s: $1"
		sleep 0.02
	done
}

# --- repositories --------------------------------------------------------------------------------

# git_repo NAME: a repository in $R/NAME, not registered.
git_repo() {
	git init -q -b main "$R/$1"
	mkdir -p "$R/$1/src/deep"
	echo "# $1" >"$R/$1/README.md"
	echo "int main(void) { return 0; }" >"$R/$1/src/main.c"
	seq 1 2000 >"$R/$1/src/deep/numbers.txt"
	ln -s src/main.c "$R/$1/link.c"
	git -C "$R/$1" add -A
	git -C "$R/$1" commit -qm "start of $1"
}

# make_repo NAME: the same, registered under NAME.
make_repo() {
	git_repo "$1"
	check rrm add --name "$1" "$R/$1" >/dev/null
}

# repo_id NAME
repo_id() {
	rrm list --json | jq -re --arg n "$1" '.[] | select(.name == $n) | .repo_id'
}

# state_dir NAME
state_dir() {
	echo "$S/repos/$(repo_id "$1")"
}

# write_config JSON
write_config() {
	mkdir -p "$XDG_CONFIG_HOME/rrm"
	printf '%s\n' "$1" >"$XDG_CONFIG_HOME/rrm/config.json"
}

# --- the mount -----------------------------------------------------------------------------------

mounted_at() {
	awk -v m="$1" '$5 == m { found = 1 } END { exit !found }' /proc/self/mountinfo
}

mounted() {
	mounted_at "$M"
}

# start_mount [OPTIONS OF rrm-mount]: serves $M in the foreground of a background job, so that its
# messages ($T/mount.log) and its exit status are seen.
start_mount() {
	# A background job of sh ignores SIGINT; the server should not inherit that.
	env --default-signal=INT,QUIT rrm-mount -f "$@" "$M" </dev/null >>"$T/mount.log" 2>&1 &
	mount_pid=$!
	sm_end=$(($(date +%s) + 30))
	until mounted && [ -e "$M/.rrm/status" ]; do
		kill -0 "$mount_pid" 2>/dev/null || die "rrm-mount ended: $(tail -3 "$T/mount.log")"
		[ "$(date +%s)" -lt "$sm_end" ] || die "not mounted after 30 s: $(tail -3 "$T/mount.log")"
		sleep 0.02
	done
}

# server_pid: of the process that answers for the mount now. guard_pid: of the one that the mount lives as long as.
server_pid() {
	jq .server "$S/mount.json"
}

guard_pid() {
	jq .pid "$S/mount.json"
}

# kill_server: kill -9, and its successor serves when this returns.
kill_server() {
	ks=$(server_pid)
	kill -9 "$ks"
	wait_until "[ \"\$(server_pid)\" != '$ks' ]"
}

# kill_mount: kill -9 of both: the mount is dead, "Transport endpoint is not connected".
kill_mount() {
	km=$(guard_pid)
	kill -STOP "$km" # neither may do what it does when the other one dies
	kill -9 "$(server_pid)" "$km"
}

# stop_mount: unmounts; the server must end by itself, with status 0.
stop_mount() {
	check rrm-mount -u "$M"
	wait_until "! kill -0 $mount_pid 2>/dev/null" 30
	stm=0
	wait "$mount_pid" || stm=$?
	mount_pid=
	eq "$stm" 0 "exit status of rrm-mount ($(tail -3 "$T/mount.log"))"
	if mounted; then
		die 'still mounted after rrm-mount -u'
	fi
}

# in_repo NAME CMD...: runs CMD in NAME inside the mount, at home there.
in_repo() {
	setsid -w sh -c 'cd "$0" && shift && exec "$@"' "$M/$1" "$@"
}

# --- what was recorded ---------------------------------------------------------------------------

# audit NAME [JQ FILTER]: the audit records, oldest first, each through the filter (compact, raw text).
audit() {
	au=$(state_dir "$1")
	# audit.<seq>.jsonl are the rotated ones.
	find "$au" -maxdepth 1 -name 'audit*.jsonl' | sort -t. -k2,2 -V | xargs -r cat |
		jq -rc "${2-.}"
}

# audit_writes NAME [JQ FILTER]: as audit, but a write that begins where its writer's last record left an empty
# file is one with that. A machine so slow that the turn, or the 100 ms of the gateway, end between open(2) and
# write(2) makes two records of them.
audit_writes() {
	audit "$1" | jq -nrc "reduce inputs as \$r ([];
		(to_entries | map(select(.value.path == \$r.path and .value.actor.pid == \$r.actor.pid)) | last) as \$l
		| if \$l and \$l.value.result == \"ok\" and \$l.value.size_after == 0 and \$r.op == \"write\"
			and \$r.result == \"ok\" and \$r.size_before == 0
		then .[\$l.key] += {size_after: \$r.size_after, sha256_after: \$r.sha256_after,
			bytes: (\$l.value.bytes + \$r.bytes), writes: (\$l.value.writes + \$r.writes)}
		else . + [\$r] end) | .[] | ${2-.}"
}

# audit_count NAME [JQ CONDITION]
audit_count() {
	audit_writes "$1" "select(${2-true})" | wc -l
}

# audit_settles NAME N [JQ CONDITION]: exactly N such records come to be. The backend is stopped for
# it, so that nothing is left to be written.
audit_settles() {
	wait_until "[ \"\$(audit_count '$1' '${3-true}')\" -ge $2 ]"
	check rrm stop "$1" >/dev/null
	as=$(audit_count "$1" "${3-true}")
	[ "$as" = "$2" ] || die "audit of $1 has $as records with ${3-true}, wanted $2: $(audit "$1" \
		'[.seq,.op,.path,.result,.actor.home]')"
}

# last_audit NAME [JQ FILTER]
last_audit() {
	audit "$1" "${2-.}" | tail -n 1
}

# fuse_requests: {"LOOKUP":1,...} as rrm-mount has counted them.
fuse_requests() {
	jq -c .requests "$M/.rrm/stats"
}

# requests_of CMD...: the FUSE requests that CMD causes, as "LOOKUP=1 READ=2", "" for none. What the
# reading of the counters itself costs is taken off.
requests_of() {
	fuse_requests >/dev/null
	rq0=$(fuse_requests)
	rq1=$(fuse_requests)
	"$@" >/dev/null
	rq2=$(fuse_requests)
	jq -nr --argjson a "$rq0" --argjson b "$rq1" --argjson c "$rq2" '
		[$c | to_entries[] | .key as $k
		| {k: $k, n: (.value - ($b[$k] // 0) - (($b[$k] // 0) - ($a[$k] // 0)))}
		| select(.n > 0 and (.k | test("FORGET|INTERRUPT") | not)) | "\(.k)=\(.n)"] | join(" ")'
}

# --- the end -------------------------------------------------------------------------------------

# pids_of_case: processes that carry this case's mark, but not this shell and what runs it (timeout).
pids_of_case() {
	grep -lzx -e "RRM_TEST_CASE=$RRM_TEST_CASE" /proc/[0-9]*/environ 2>/dev/null |
		sed 's|/proc/\([0-9]*\)/.*|\1|' | grep -vx -e $$ -e $PPID || true
}

case_end() {
	case_status=$?
	trap - EXIT
	trap '' PIPE # whoever reads this, `head` perhaps, may be gone: what is left to do is done
	set +e
	cd /
	if [ "$case_status" != 0 ]; then
		say "case ended with status $case_status; rrm-mount's last words:"
		tail -n 25 "$T/mount.log" >&2 2>/dev/null
		[ -d "$S/repos" ] && for ce in "$S"/repos/*/backend.log; do
			[ -s "$ce" ] && { say "$ce:"; tail -n 8 "$ce" >&2; }
		done
	fi
	if [ -n "$mount_pid" ] && kill -0 "$mount_pid" 2>/dev/null; then
		timeout 20 rrm-mount -u "$M" >/dev/null 2>&1
		ce_end=$(($(date +%s) + 20))
		while kill -0 "$mount_pid" 2>/dev/null && [ "$(date +%s)" -lt "$ce_end" ]; do
			sleep 0.05
		done
	fi
	[ -d "$S/repos" ] && timeout 30 rrm stop --all >/dev/null 2>&1
	awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
		while read -r ce; do
			umount -l "$ce" 2>/dev/null || fusermount3 -uz "$ce"
		done
	for ce in "$T"/x/*san.*; do
		[ -s "$ce" ] || continue
		say "sanitizer report $ce:"
		{ grep -m 3 SUMMARY "$ce"; head -n 24 "$ce"; } >&2
		case_status=1
	done
	if [ "$case_own_dir" = yes ]; then
		ce=$(pids_of_case)
		# shellcheck disable=SC2086 # a list of pids
		[ -z "$ce" ] || kill -9 $ce 2>/dev/null
		chmod -R u+rwx "$T" 2>/dev/null
		rm -rf "$T"
	fi
	exit "$case_status"
}
trap case_end EXIT
trap 'exit 130' HUP INT TERM
