#!/bin/sh
# Roots and names are bytes: what is not UTF-8, has spaces, quotes or newlines works, and the text
# output stays one line a repo.
. "${0%/*}/../lib.sh"

latin=$(printf 'caf\351')
for name in "$latin" "two words" "quote's\"" "new
line" -- '*'; do
	git init -q "$R/$name"
	check rrm add -- "$R/$name" >/dev/null
done
eq "$(rrm list | wc -l)" 6 'lines of the list'
eq "$(rrm list --json | jq length)" 6 'entries of the list'
id=$(rrm list --json | jq -r '.[] | select(.root_hex != null) | .repo_id')
eq "$(rrm status "$R/$latin" --json | jq -r '.[0].repo_id')" "$id" 'the repo found by its bytes'
eq "$(rrm status "$latin" --json | jq -r '.[0].repo_id')" "$id" 'and by its name'
eq "$(rrm list --json | jq -r '.[] | select(.root | test("new")) | .name')" new-line 'name without its newline'
eq "$(rrm run "$latin" -- pwd)" "$R/$latin" 'where a command runs'
check rrm remove "$latin" >/dev/null
eq "$(rrm list | wc -l)" 5 'after one was removed'
