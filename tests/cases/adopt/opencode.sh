#!/bin/sh
# rrm adopt: sessions of two repositories, with what their agents did, out of the one database that a real OpenCode
# made for both into the databases of their backends. Each then lists its own and not the other's; the old database is
# not changed; in use it is refused; without consent nothing happens; twice is as once.
# needs: opencode
# timeout: 300
. "${0%/*}/../lib.sh"
case_dir=$case_dir/../opencode
. "$case_dir/lib_agent.sh"
export OPENCODE_DISABLE_AUTOUPDATE=1 npm_config_fetch_retries=0 npm_config_fetch_timeout=3000
start_model
agents_config '.permission = {edit: "allow", bash: "allow"}'
git_repo stranger
git_repo a
git_repo b

# As it was before rrm: one OpenCode for all of them.
(cd "$R/a" && exec "$RRM_OPENCODE" serve --hostname 127.0.0.1 --port 0) </dev/null 9>&- >"$T/x/shared" 2>&1 &
shared=$!
wait_until 'grep -q listening "$T/x/shared"' 100
url=$(sed -n 's/^opencode server listening on //p' "$T/x/shared")
shared_api() {
	sa_path=$1
	shift
	curl --noproxy '*' -sS --fail-with-body --max-time 100 -H 'content-type: application/json' "$url$sa_path" "$@"
}
for n in a b stranger; do
	sid=$(shared_api "/session?directory=$R/$n" -d '{}' | jq -re .id)
	eval "sid_$n=$sid"
	jq -nc --arg f "$R/$n/made" '{model: {providerID: "scripted", modelID: "edits"}, parts: [{type: "text",
		text: ({steps: [{tool: "write", args: {filePath: $f, content: "by an agent"}}], say: "said in the old days"} | tojson)}]}' |
		shared_api "/session/$sid/message?directory=$R/$n" -d @- >"$T/x/answer"
	eq "$(cat "$R/$n/made")" 'by an agent' "what the agent of $n wrote"
done
# shellcheck disable=SC2154 # by eval
two=$(shared_api "/session?directory=$R/a/src" -d '{}' | jq -re .id)
for n in a b; do
	check rrm add --name "$n" "$R/$n" >/dev/null
done

fails_with "is in use by pid $shared" rrm adopt --yes
kill -9 "$shared" # as a crash: its last changes are in the log beside the database
wait "$shared" || :
db=$XDG_DATA_HOME/opencode/opencode.db
sum() {
	(cd "$XDG_DATA_HOME/opencode" && find . -name 'opencode.db*' ! -name '*-shm' -exec sha256sum {} + | sort)
}
sum >"$T/x/before"
rrm doctor --json >"$T/x/doctor" || :
jq -e '.findings[] | select(.kind == "session_branches") | .fix | contains("rrm adopt")' "$T/x/doctor" >/dev/null || die 'doctor does not lead to adopt'
fails_with '--yes' rrm adopt
script -qec 'rrm adopt' /dev/null </dev/null >"$T/x/asked" 2>&1 || :
grep -q 'y/N' "$T/x/asked" || die "nobody was asked: $(cat "$T/x/asked")"
[ ! -e "$(state_dir a)/data/opencode/opencode.db" ] || die 'copied without consent'

# b has a database already, with a session of its own, and no mount; a gets its first.
check rrm ensure b >/dev/null
own=$(api b "/session?directory=$R/b" -d '{}' | jq -re .id)
fails_with 'run rrm stop b first' rrm adopt --yes b
check rrm stop b
check rrm adopt --yes >"$T/x/adopted"
grep -qx 'a: 2 sessions adopted, 0 were there already' "$T/x/adopted" || die "said: $(cat "$T/x/adopted")"
grep -qx 'b: 1 session adopted, 0 were there already' "$T/x/adopted" || die "said: $(cat "$T/x/adopted")"
grep -q 'not registered' "$T/x/adopted" || die 'nothing about the stranger'
eq "$(sum)" "$(cat "$T/x/before")" 'the old database'
eq "$(find "$S" -maxdepth 1 -name 'adopt.*')" '' 'copies that are left'
rrm doctor --json >"$T/x/doctor" || :
! jq -e '.findings[] | select(.kind == "session_branches")' "$T/x/doctor" || die 'doctor still wants it adopted'

# sessions NAME DIRECTORY: what the backend lists there.
sessions() {
	api "$1" "/session?directory=$2" | jq -r '.[].id' | sort | tr '\n' ' '
}
check rrm ensure b >/dev/null
# shellcheck disable=SC2154
eq "$(sessions b "$R/b")" "$(printf '%s\n' "$own" "$sid_b" | sort | tr '\n' ' ')" 'sessions of b, without a mount'
check rrm stop b

# With the mount up they move to where agents in the mount look.
start_mount
check rrm adopt --yes >"$T/x/adopted"
grep -qx 'a: 0 sessions adopted, 2 were there already' "$T/x/adopted" || die "said: $(cat "$T/x/adopted")"
eq "$(sum)" "$(cat "$T/x/before")" 'the old database after the second time'
for n in a b; do
	rrm ensure "$n" >/dev/null &
	eval "job_$n=$!"
done
# shellcheck disable=SC2154
check wait "$job_a" "$job_b"
# shellcheck disable=SC2154
eq "$(sessions a "$M/a")" "$sid_a " 'sessions of a'
eq "$(sessions a "$M/a/src")" "$two " 'sessions of a directory in a'
case " $(sessions b "$M/b")" in *" $sid_b "*) ;; *) die "sessions of b: $(sessions b "$M/b")" ;; esac
for n in a b; do
	eval "sid=\$sid_$n"
	api "$n" "/session/$sid/message?directory=$M/$n" >"$T/x/messages"
	jq -e '[.[].parts[] | select(.type == "text") | .text] | any(contains("said in the old days"))' "$T/x/messages" >/dev/null ||
		die "messages of $n: $(cut -c1-500 "$T/x/messages")"
	eq "$(jq -r '[.[].parts[] | select(.type == "tool") | .tool + " " + .state.status][0]' "$T/x/messages")" 'write completed' "the tool call of $n"
done
# shellcheck disable=SC2154
refuse api a "/session/$sid_b?directory=$M/a" >/dev/null 2>&1
# shellcheck disable=SC2154
refuse api b "/session/$sid_stranger?directory=$M/b" >/dev/null 2>&1
ask a "$sid_a" "$(call read "{\"filePath\":\"$M/a/made\"}")"
eq "$(tool_states a "$sid_a" | tail -n 1)" 'read completed' 'the session goes on'
