#!/bin/sh
# Names are unique: an explicit one that is taken is refused, a default one gets a suffix; also when
# many add at once.
. "${0%/*}/../lib.sh"

git_repo web
mkdir "$R/x"
git clone -q "$R/web" "$R/x/web"
check rrm add "$R/web" "$R/x/web" >/dev/null
eq "$(rrm list --json | jq -r '[.[].name] | join(" ")')" 'web web-2' 'default names'
git clone -q "$R/web" "$R/other"
fails_with 'belongs to' rrm add --name web "$R/other"
fails_with 'registered as web already' rrm add --name new "$R/web"
check rrm add "$R/web" >/dev/null
eq "$(rrm list | wc -l)" 2 'repos after adding one twice'

for i in 1 2 3 4 5 6 7 8; do
	mkdir "$R/m$i"
	git init -q "$R/m$i/many"
done
for i in 1 2 3 4 5 6 7 8; do
	rrm add "$R/m$i/many" >/dev/null &
done
wait
eq "$(jq -r .name "$S"/repos/many-*/repo.json | sort -u | wc -l)" 8 'names on disk after adding 8 at once'
