#!/bin/sh
# A backend may open as many files as the hard limit allows, whatever the soft limit of who started it.
. "${0%/*}/../lib.sh"
write_config '{"backend":"embedded"}'
make_repo a
check sh -c 'ulimit -S -n 300 && ulimit -H -n 3000 && exec rrm ensure a' >/dev/null
eq "$(awk '/^Max open files/ { print $4, $5 }' "/proc/$(jq .pid "$(state_dir a)/registry.json")/limits")" '3000 3000' 'the limits'
