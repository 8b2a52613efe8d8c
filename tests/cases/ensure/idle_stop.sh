#!/bin/sh
# idle_stop_s: a backend that nobody uses is stopped, not while a client is connected to it, and the next
# write has one again. `rrm stop --if-idle` says why not.
. "${0%/*}/../lib.sh"
write_config '{"backend":"embedded","idle_stop_s":2}'
make_repo a
make_repo b
reg_a=$(state_dir a)/registry.json
reg_b=$(state_dir b)/registry.json
check rrm ensure a >/dev/null
check rrm ensure b >/dev/null
# A client of a, which says nothing. Reading waits for its end. It is there before the mount, which stops what is idle.
mkfifo "$T/hold"
bash -c "exec 3<>/dev/tcp/127.0.0.1/$(cat "$(state_dir a)/port"); echo >$T/x/on; read -r _ <$T/hold" &
client=$!
wait_until '[ -e "$T/x/on" ]'
eq "$(status_of rrm stop --if-idle=0 a)" 3 'the exit status for one in use'
grep -q '1 connection to it is open' "$T/x/err" || die "it says: $(cat "$T/x/err")"
start_mount
wait_until '[ ! -e "$reg_b" ]' 60
[ -e "$reg_a" ] || die 'it was stopped while a client was connected'
echo >"$T/hold"
wait "$client"
wait_until '[ ! -e "$reg_a" ]' 60
eq "$(rrm status --json a | jq -r '.[0] | "\(.state) \(.last_error)"')" 'stopped null' 'the status'
starts() {
	grep -c event=serving "$(state_dir a)/backend.log"
}
eq "$(starts)" 1 'starts before the write'
echo hi >"$M/a/new"
eq "$(cat "$R/a/new")" hi 'what was written'
eq "$(starts)" 2 'starts after the write'
wait_until '[ -s "$(state_dir a)/audit.jsonl" ]'
stop_mount

# Just used is in use; later it is not. Without the mount nobody else stops it meanwhile.
check rrm ensure a >/dev/null
eq "$(status_of rrm stop --if-idle=3600 a)" 3 'the exit status for one that was just used'
grep -q 'it was used' "$T/x/err" || die "it says: $(cat "$T/x/err")"
used=$(stat -c %.Y "$(state_dir a)/start.lock")
eq "$(status_of rrm stop --if-idle=3600 a)" 3 'the exit status for one that was used'
eq "$(stat -c %.Y "$(state_dir a)/start.lock")" "$used" 'when it was used: asking is no use'
# A record that is written at that moment (it is, 0.1 s after its write) is of the past and keeps nothing.
touch -d @0 "$(state_dir a)/start.lock"
python3 - "$(state_dir a)/audit.jsonl" "$T/x/writes" <<'EOF' &
import os, sys
os.utime(sys.argv[1], ns=(1, 1))
open(sys.argv[2], "w").close()
for now in range(10**12):
    os.utime(sys.argv[1], ns=(now * 10**6, now * 10**6))
EOF
writes=$!
wait_until '[ -e "$T/x/writes" ]'
check rrm stop --if-idle=0 a
kill "$writes"
wait "$writes" 2>/dev/null || :
[ ! -e "$reg_a" ] || die 'it was not stopped'
check rrm stop --if-idle a
eq "$(status_of rrm stop --if-idle=x a)" 2 'the exit status for a bad number'
