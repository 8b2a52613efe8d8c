#!/bin/sh
# Thirty `rrm ensure` at once start one backend, and all print the same endpoint.
. "${0%/*}/../lib.sh"
write_config '{"backend":"embedded"}'
make_repo a
jobs=
for i in $(seq 30); do
	rrm ensure --json a >"$T/x/out.$i" 2>"$T/x/err.$i" &
	jobs="$jobs $!"
done
for job in $jobs; do
	wait "$job" || die "one of them failed: $(cat "$T"/x/err.*)"
done
eq "$(cat "$T"/x/out.* | jq -s 'map([.pid, .url]) | unique | length')" 1 'different answers'
eq "$(grep -c event=serving "$(state_dir a)/backend.log")" 1 'starts'
eq "$(cat "$(state_dir a)/port")" "$(rrm ensure a | sed 's/.*://')" 'the port file'
eq "$(stat -c %a "$(state_dir a)/password")" 600 'mode of the password'
grep -Eqx '[0-9a-f]{32}' "$(state_dir a)/password" || die 'the password is not 32 hex digits'
