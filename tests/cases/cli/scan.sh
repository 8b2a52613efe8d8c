#!/bin/sh
# rrm scan registers work trees down to the depth that was asked for, and no more.
. "${0%/*}/../lib.sh"

for d in a b/c/d b/c/e/f .hidden/x a/inner; do
	git init -q "$R/$d"
done
ln -s "$R/b/c/e" "$R/link"
found() {
	rrm list --json | jq -r '[.[].name] | join(" ")'
}
check rrm scan --depth 1 "$R" >/dev/null
eq "$(found)" a 'depth 1'
check rrm scan "$R" >/dev/null
eq "$(found)" 'a d' 'depth 3, the default'
check rrm scan --depth 4 "$R" >/dev/null
eq "$(found)" 'a d f' 'depth 4'
eq "$(rrm scan --depth 4 "$R")" '' 'what a second scan finds anew'
fails_with 'does not exist' rrm scan "$R/none"
fails_with 'not a directory' rrm scan "$R/a/.git/HEAD"
eq "$(status_of rrm scan)" 2 'status without DIR'
eq "$(status_of rrm scan --depth -1 "$R")" 2 'status with a negative depth'
