#!/bin/sh
# A removed repo keeps its state until gc clears it: 30 days later, or at once with --purge. A stale
# registry entry and a dead socket go; what lives stays.
. "${0%/*}/../lib.sh"

make_repo web
make_repo api
make_repo old
web=$(state_dir web)
api=$(state_dir api)
old=$(state_dir old)
echo '{}' >"$web/audit.jsonl"
check rrm remove web old >/dev/null
eq "$(rrm list --json | jq -r '[.[].name] | join(" ")')" api 'who is left'
touch -d '31 days ago' "$old"
check rrm gc >"$T/x/gc"
[ -e "$web/audit.jsonl" ] || die 'the audit of a repo just removed is gone'
[ ! -e "$old" ] || die 'a state directory of 31 days ago is still there'
check rrm gc --purge --json >"$T/x/gc"
eq "$(jq -r '.done[] | .what + " " + .path' "$T/x/gc")" "state directory $web" 'what purge did'
[ ! -e "$web" ] || die 'the state directory is still there'
[ -e "$api/repo.json" ] || die 'a registered repo was cleared'

# a registry entry of a process that never was, and a socket nobody listens on
id=$(repo_id api)
printf '{"repo_id":"%s","root":"%s","pid":4194303,"start_time":1,"boot_id":"x","port":4101,"url":"http://127.0.0.1:4101","state":"ready"}' \
	"$id" "$R/api" >"$api/registry.json"
echo 4101 >"$api/port"
eq "$(rrm status api --json | jq -r '.[0].state')" stopped 'state of a backend that is gone'
check rrm gc >"$T/x/gc"
grep -q '^registry entry .*pid 4194303' "$T/x/gc" || die "gc said: $(cat "$T/x/gc")"
[ ! -e "$api/registry.json" ] || die 'the stale entry is still there'
[ ! -e "$api/port" ] || die 'the port is still there'
touch -d '40 days ago' "$api/backend.log.1" "$api/registry.json.corrupt-1"
touch -d '2 days ago' "$api/.rrm-tmp-1-1"
: >"$api/.rrm-tmp-1-2"
check rrm gc >"$T/x/gc"
eq "$(wc -l <"$T/x/gc")" 3 'what was cleared of old files'
[ -e "$api/.rrm-tmp-1-2" ] || die 'a file being written was cleared'
eq "$(rrm gc --json)" "$(printf '{\n\t"done":\t[]\n}')" 'nothing more to do'
