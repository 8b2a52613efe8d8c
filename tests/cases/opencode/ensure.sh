#!/bin/sh
# The real OpenCode as backend of two repos: ready, isolated, with a gateway that lives and dies with it;
# back on its port after kill -9; gone without a trace after stop. RRM_OPENCODE names the binary.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
[ -x "${RRM_OPENCODE-}" ] ||
	die "RRM_OPENCODE must name the opencode binary of the pinned npm package; it is '${RRM_OPENCODE-}'"
mkdir -p "$XDG_CONFIG_HOME/opencode" "$XDG_DATA_HOME/opencode"
echo '{"$schema":"https://opencode.ai/config.json","username":"ann"}' >"$XDG_CONFIG_HOME/opencode/opencode.json"
write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$RRM_OPENCODE\",\"start_timeout_ms\":90000}"
make_repo a
make_repo b

rrm ensure --json a >"$T/x/a" &
job=$!
check rrm ensure --json b >"$T/x/b"
wait "$job" || die 'ensure of a failed'
eq "$(jq -r '"\(.backend) \(.state)"' "$T/x/a")" 'opencode ready' 'the first endpoint'

# api NAME PATH [CURL ARGS]
api() {
	api_name=$1 api_path=$2
	shift 2
	curl --noproxy '*' -sf -u "opencode:$(cat "$(state_dir "$api_name")/password")" "$@" \
		"$(jq -r .url "$(state_dir "$api_name")/registry.json")$api_path"
}
pid_of() {
	jq .pid "$(state_dir "$1")/registry.json"
}
gateway_of() {
	pgrep -P "$(pid_of "$1")" -x rrm-backend
}

# Ready, and only with the password.
eq "$(api a /global/health | jq .healthy)" true 'health of a'
eq "$(curl --noproxy '*' -so "$T/x/o" -w '%{http_code}' "$(jq -r .url "$T/x/a")/global/health")" 401 \
	'health without the password'
eq "$(api a /path | jq -r .directory)" "$R/a" 'the directory that a serves'
eq "$(api a /config | jq -r .username)" ann "the user's configuration"

# The gateway is a child of the backend, and answers for its repo.
for n in a b; do
	gateway_of $n >"$T/x/g.$n" || die "no gateway below the backend of $n"
	eq "$(curl -sf --unix-socket "$(state_dir $n)/gateway.sock" http://x/health | jq -r .repo_id)" \
		"$(repo_id $n)" "the gateway of $n"
done

# Isolated: no file that both have open for writing.
writes_of() {
	for wo in "$(pid_of "$1")" "$(gateway_of "$1")"; do
		for fd in /proc/"$wo"/fd/*; do
			to=$(readlink "$fd") || continue
			flags=$(sed -n 's/^flags:[^0-9]*//p' "/proc/$wo/fdinfo/${fd##*/}") || continue
			case "$to:$flags" in
			/dev/* | [!/]*) ;;
			*:*[12]) echo "$to" ;;
			esac
		done
	done | sort -u
}
writes_of a >"$T/x/wa"
writes_of b >"$T/x/wb"
grep -q 'opencode\.db' "$T/x/wa" || die "the check sees no database: $(cat "$T/x/wa")"
eq "$(comm -12 "$T/x/wa" "$T/x/wb")" '' 'open for writing in both'

# A login in one is a login in both.
check api a /auth/demo -X PUT -H 'content-type: application/json' -d '{"type":"api","key":"k1"}' >/dev/null
eq "$(jq -r .demo.key "$XDG_DATA_HOME/opencode/auth.json")" k1 "the user's auth.json"
eq "$(jq -r .demo.key "$(state_dir b)/data/opencode/auth.json")" k1 'auth.json as b sees it'

# Its tools' children have the user's directories and know their home.
shell() {
	sid=$(api "$1" /session -X POST -H 'content-type: application/json' -d '{}' | jq -r .id)
	jq -n --arg c "$2" '{agent: "build", model: {providerID: "x", modelID: "y"}, command: $c}' |
		api "$1" "/session/$sid/shell" -X POST -H 'content-type: application/json' -d @- >"$T/x/shell"
}
shell a "env >$T/x/env; setsid sleep 86399 >/dev/null 2>&1 & :"
wait_until '[ -s "$T/x/env" ]'
for want in "XDG_DATA_HOME=$XDG_DATA_HOME" "XDG_CONFIG_HOME=$XDG_CONFIG_HOME" "TMPDIR=$TMPDIR" \
	"RRM_SESSION=$sid" "RRM_HOME_REPO=$(repo_id a)"; do
	grep -qxF "$want" "$T/x/env" || die "a tool's child does not have $want"
done

# It does not work for another directory.
sid=$(api a "/session?directory=$R/b" -X POST -H 'content-type: application/json' -d '{}' | jq -r .id)
refuse api a "/session/$sid/shell?directory=$R/b" -X POST -H 'content-type: application/json' \
	-d '{"agent":"build","model":{"providerID":"x","modelID":"y"},"command":"touch stray"}' >"$T/x/o"
[ ! -e "$R/b/stray" ] || die "a's backend worked in b"
wait_until "grep -q 'rrm.js: rrm: this backend serves $R/a and no other' '$(state_dir a)/backend.log'"

# A killed gateway is started again; a killed backend takes its gateway along and comes back.
old=$(gateway_of a)
kill -9 "$old"
wait_until 'new=$(gateway_of a) && [ "$new" != "$old" ]'
check rrm ensure a >/dev/null
gateway=$(gateway_of a)
kill -9 "$(pid_of a)"
wait_until "! kill -0 $gateway 2>/dev/null || grep -q '^State:.Z' /proc/$gateway/status"
eq "$(rrm ensure a)" "$(jq -r .url "$T/x/a")" 'the URL after kill -9'
[ "$(pgrep -cf '^sleep 86399')" = 0 ] || die "a child of the dead backend's tool still runs"

# Stopped, nothing is left, whatever session it is in.
shell a "setsid sleep 86398 >/dev/null 2>&1 & :"
check rrm restart a >"$T/x/url"
eq "$(cat "$T/x/url")" "$(jq -r .url "$T/x/a")" 'the URL after restart'
[ "$(pgrep -cf '^sleep 86398')" = 0 ] || die 'a child of a tool survived restart'
check rrm stop --all
for n in a b; do
	eq "$(grep -lzx "RRM_REPO_ID=$(repo_id $n)" /proc/[0-9]*/environ 2>/dev/null)" '' "left of $n"
	[ ! -e "$(state_dir $n)/gateway.sock" ] || die "the socket of $n is still there"
done
