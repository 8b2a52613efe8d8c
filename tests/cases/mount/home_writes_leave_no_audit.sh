#!/bin/sh
# A write at home goes to the real file, leaves no audit record and one line in home.jsonl.
. "${0%/*}/../lib.sh"
make_repo a
start_mount
begun=$(date +%s)
check in_repo a sh -c 'for i in 1 2 3 4 5; do echo $i; done >made && mkdir d && mv made d/moved && rm README.md'
took=$(($(date +%s) - begun))
eq "$(cat "$R/a/d/moved")" '1
2
3
4
5' 'the real file'
refuse test -e "$R/a/README.md"
stop_mount
eq "$(audit_count a)" 0 'audit records'
refuse test -e "$(state_dir a)/registry.json"
home=$(state_dir a)/home.jsonl
check test -s "$home"
jq -es 'length > 0' "$home" >/dev/null || die "home.jsonl is not JSON lines: $(head -3 "$home")"
grep -q made "$home" || die "home.jsonl does not name the file: $(cat "$home")"
# a line ends when nothing came for 1 s
[ "$(grep -c '"made"' "$home")" -le $((3 + took)) ] || die "not coalesced: $(cat "$home")"
