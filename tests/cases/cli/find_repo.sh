#!/bin/sh
# REPO is a path in the real tree or in the mount, a mount name, or a repo_id. Paths in the mount are
# never touched: here the mountpoint is a symlink to itself, and touching it would be ELOOP.
. "${0%/*}/../lib.sh"

git_repo web
check rrm add --name site "$R/web" >/dev/null
id=$(rrm list --json | jq -r '.[0].repo_id')
ln -s rrm "$HOME/rrm"
ln -s r/web "$T/short"
name_of() {
	rrm status "$1" --json | jq -r '.[0].name'
}
for what in "$R/web" "$R/web/src/deep" "$R/web/not/yet" "$T/short" short short/src site "$id" \
	"$HOME/rrm/site" "$HOME/rrm/site/src/x" "$HOME/../h/rrm/./site"; do
	eq "$(name_of "$what")" site "$what"
done
for what in web "$R" / "$HOME/rrm" "$HOME/rrm/none" "$HOME/rrm/.rrm/status" sit; do
	fails_with 'not a registered repository' rrm status "$what"
done
fails_with 'names no repository' rrm status ''
cd "$R/web"
fails_with 'wbe is not a registered repository' rrm status wbe
cd "$T"
# a root that is gone can still be removed
rm -rf "$R/web"
check rrm remove "$R/web" >/dev/null
eq "$(rrm list)" '' 'the list at the end'
