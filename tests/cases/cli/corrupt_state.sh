#!/bin/sh
# Damaged files of the state directory are moved aside and reported; everything else goes on.
. "${0%/*}/../lib.sh"

make_repo web
make_repo api
web=$(state_dir web)
api=$(state_dir api)
n=0
for bad in '' '{' '[]' '{"repo_id":1}' 'null' '{"repo_id":"web","root":"relative","name":"x"}'; do
	n=$((n + 1))
	printf %s "$bad" >"$web/repo.json"
	eq "$(status_of rrm list --json)" 0 'status of the list'
	eq "$(jq -r '[.[].name] | join(" ")' "$T/x/out")" api 'who is left'
	grep -q corrupt_repo_json "$T/x/err" || die "not reported: $(cat "$T/x/err")"
	[ -e "$web/repo.json.corrupt-$n" ] || die "not moved aside: $bad"
done
check rrm add "$R/web" >/dev/null
eq "$(rrm list | wc -l)" 2 'repos after it was registered again'

# A root that another id belongs to is found out before anything is started for it.
jq -c --arg r "$R/elsewhere/web" '.root = $r' "$web/repo.json" >"$T/x/forged"
cp "$T/x/forged" "$web/repo.json"
fails_with "names the root $R/elsewhere/web, which is another repository's" rrm ensure "$(basename "$web")"
check rrm remove "$(basename "$web")"
check rrm add "$R/web" >/dev/null

printf '{"pid":' >"$api/registry.json"
eq "$(status_of rrm status api --json)" 0 'status with a damaged registry'
eq "$(jq -r '.[0].state' "$T/x/out")" stopped 'state with a damaged registry'
grep -q corrupt_registry "$T/x/err" || die 'the damaged registry was not reported'
[ -e "$api/registry.json.corrupt-1" ] || die 'the damaged registry was not moved aside'

# a file where a directory should be, and a directory where a file should be
: >"$S/repos/stray"
mkdir -p "$S/repos/odd-0123456789abcdef/repo.json"
fails_with 'odd-0123456789abcdef' rrm list
rmdir "$S/repos/odd-0123456789abcdef/repo.json"
check rrm list >/dev/null
