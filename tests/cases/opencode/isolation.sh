#!/bin/sh
# Twelve real OpenCodes, started at once and used: no file that two of them have open for writing, or ever
# opened, made, renamed or cut (each is traced from its first instruction), no memory shared through a file,
# no npm, and nobody is asked anything outside this machine. A login in one is a login in all.
# needs: opencode
# timeout: 600
. "${0%/*}/lib_alone.sh"
repos='a b c d e f g h i j k l'

# What users have: the file without "$schema" is one that OpenCode itself completes at its first start.
oc=$XDG_CONFIG_HOME/opencode
mkdir -p "$oc/plugin" "$oc/agent" "$HOME/.opencode/agent" "$T/trace"
printf '{"username":"ann"}\n' >"$oc/opencode.json"
printf -- '---\ndescription: mine\n---\nbe brief\n' >"$oc/agent/mine.md"
printf -- '---\ndescription: old\n---\nbe brief\n' >"$HOME/.opencode/agent/old.md"
printf 'export const P = async () => ({})\n' >"$oc/plugin/p.js"
# The list of models is fetched from the internet otherwise, in the background.
export OPENCODE_DISABLE_MODELS_FETCH=1

# Traced from its start, by a tracer that is no part of the backend: -D leaves the pid to the program.
cat >"$T/opencode" <<EOF
#!/bin/sh
exec env -u RRM_BACKEND_OF -u RRM_REPO_ID strace -DDD -f -qq -y -s 4096 --seccomp-bpf -o "$T/trace/\$RRM_REPO_ID" \\
	-E "RRM_BACKEND_OF=\$RRM_BACKEND_OF" -E "RRM_REPO_ID=\$RRM_REPO_ID" \\
	-e trace=open,openat,openat2,creat,rename,renameat,renameat2,link,linkat,truncate,execve,connect \\
	"$RRM_OPENCODE" "\$@"
EOF
chmod +x "$T/opencode"
write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$T/opencode\",\"start_timeout_ms\":180000}"
for n in $repos; do
	make_repo "$n"
done
start_mount

jobs=
for n in $repos; do
	rrm ensure --json "$n" >"$T/x/$n" &
	jobs="$jobs $!"
done
for job in $jobs; do
	wait "$job" || die 'an ensure failed'
done

# api NAME PATH [CURL ARGS]
api() {
	api_name=$1 api_path=$2
	shift 2
	curl --noproxy '*' -sf -m 60 -u "opencode:$(cat "$(state_dir "$api_name")/password")" "$@" \
		"$(jq -r .url "$T/x/$api_name")$api_path"
}
for n in $repos; do
	eq "$(api "$n" "/path?directory=$M/$n" | jq -r .directory)" "$M/$n" "the directory of $n"
	eq "$(api "$n" /config | jq -r .username)" ann "the user's configuration in $n"
	eq "$(api "$n" /agent | jq -c '[.[].name | select(. == "mine" or . == "old")] | sort')" '["mine","old"]' \
		"the user's agents in $n"
	sid=$(api "$n" "/session?directory=$M/$n" -X POST -H 'content-type: application/json' -d '{}' | jq -r .id)
	jq -n --arg c "echo x >$M/$n/new" \
		'{agent: "build", model: {providerID: "x", modelID: "y"}, command: $c}' |
		api "$n" "/session/$sid/shell?directory=$M/$n" -X POST -H 'content-type: application/json' -d @- >"$T/x/o" ||
		die "no shell in $n"
	eq "$(cat "$R/$n/new")" x "what the agent of $n wrote"
done

# --- open now ------------------------------------------------------------------------------------

# tree PID: it and all below
tree() {
	echo "$1"
	for t in $(pgrep -P "$1"); do
		tree "$t"
	done
}
# shellcheck disable=SC2013 # words
for n in $repos; do
	for p in $(tree "$(jq .pid "$T/x/$n")"); do
		for fd in "/proc/$p/fd"/*; do
			to=$(readlink "$fd") || continue
			flags=$(sed -n 's/^flags:[^0-9]*//p' "/proc/$p/fdinfo/${fd##*/}") || continue
			case "$to:$flags" in
			/dev/* | [!/]*) ;;
			*:*[12]) echo "$to" ;;
			esac
		done
		awk '$2 ~ /w.*s/ && $6 ~ "^/" && $6 !~ "^/(dev|memfd)" { print $6 }' "/proc/$p/maps"
	done | sort -u >"$T/x/open.$n"
	for f in opencode.db opencode.db-wal opencode.db-shm; do
		grep -qxF "$(state_dir "$n")/data/opencode/$f" "$T/x/open.$n" ||
			die "the check does not see $f of $n: $(cat "$T/x/open.$n")"
	done
done
eq "$(sort "$T/x"/open.? | uniq -d)" '' 'open for writing, or mapped, in two backends'

# --- ever opened for writing ---------------------------------------------------------------------

# A login of one is one of all (it is written through the links): that may be in all traces.
n_login=0
for n in $repos; do
	api "$n" "/auth/demo$n" -X PUT -H 'content-type: application/json' -d "{\"type\":\"api\",\"key\":\"k$n\"}" >"$T/x/o" ||
		die "no login in $n"
	n_login=$((n_login + 1))
done
for n in $repos; do
	eq "$(jq length "$(state_dir "$n")/data/opencode/auth.json")" "$n_login" "logins as $n sees them"
done

# calls TRACE: one call a line, also where another thread ran in between
calls() {
	awk '{ pid = $1 }
		/<unfinished \.\.\.>$/ { sub(/ *<unfinished \.\.\.>$/, ""); begun[pid] = $0; next }
		/<\.\.\. [a-z0-9_]+ resumed>/ { sub(/.* resumed>/, ""); print begun[pid] $0; next }
		{ print }' "$1"
}

# paths_written CALLS: with -y a result is "= fd</the/real/path>", whatever links led there. What is named
# relative to the working directory is in the repository, or made by its own git.
paths_written() {
	sed -n -E \
		-e '/^[0-9]+ +(open|openat|openat2)\(.*(O_WRONLY|O_RDWR|O_CREAT)/s/.* = [0-9]+<(\/[^>]*)>.*/\1/p' \
		-e '/^[0-9]+ +creat\(/s/.* = [0-9]+<(\/[^>]*)>.*/\1/p' \
		-e '/^[0-9]+ +(rename|renameat|renameat2|link|linkat)\(.* = 0$/s/.*"(\/[^"]*)"[^"]*$/\1/p' \
		-e '/^[0-9]+ +truncate\(.* = 0$/s/^[^"]*"(\/[^"]*)".*/\1/p' "$1"
}
for n in $repos; do
	calls "$T/trace/$(repo_id "$n")" >"$T/x/calls.$n"
	paths_written "$T/x/calls.$n" | grep -v '^/dev/' | sort -u >"$T/x/wrote.$n"
	grep -qxF "$(state_dir "$n")/data/opencode/opencode.db-shm" "$T/x/wrote.$n" ||
		die "the trace of $n does not have its database: $(cat "$T/x/wrote.$n")"
	grep -qxF "$XDG_DATA_HOME/opencode/auth.json" "$T/x/wrote.$n" || die "the trace of $n does not have the login"
done
eq "$(cat "$T/x"/wrote.? | grep -F -e "$oc/" -e "$HOME/.opencode/" || :)" '' "written into the user's configuration"
eq "$(sort "$T/x"/wrote.? | uniq -d)" "$XDG_DATA_HOME/opencode/auth.json" 'written by two backends'

# --- no npm, nobody asked ------------------------------------------------------------------------

for n in $repos; do
	grep -q 'connect(' "$T/x/calls.$n" || die "the trace of $n has no connection, but it has a gateway"
	eq "$(grep -E 'connect\(.*sin6?_port' "$T/x/calls.$n" |
		grep -vE 'sin_addr=inet_addr\("127\.|"::1"' || :)" '' "connections of $n"
	eq "$(grep -E 'execve\("[^"]*/(npm|npx|bun|node)"' "$T/x/calls.$n" || :)" '' "what $n ran"
	[ ! -e "$(state_dir "$n")/config/opencode/node_modules/@opencode-ai" ] || die "npm filled $n's configuration"
done
check rrm stop --all
for n in $repos; do
	eq "$(grep -lzx "RRM_REPO_ID=$(repo_id "$n")" /proc/[0-9]*/environ 2>/dev/null)" '' "left of $n"
done
stop_mount
