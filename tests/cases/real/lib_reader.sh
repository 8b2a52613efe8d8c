# One reader, started at home in the repository NAME: reads all of LIST again and again until the file STOP
# is there; what is committed must never change, whoever writes beside it. A line to ROUNDS each time.
#
#	sh lib_reader.sh MOUNT SUMS-PREFIX STOP ROUNDS "LIST"
# shellcheck shell=sh
set -eu
until [ -e "$3" ]; do
	for repo in $5; do
		cd "$1/$repo"
		sha256sum --quiet --check "$2$repo"
		# The .git of a submodule leads to the repository around it, and only there (README, Limits).
		[ -d .git ] || grep -q '^gitdir: /' .git || cd "$1/dash/sub"
		git --no-optional-locks log --oneline -1 >/dev/null
		echo "$repo" >>"$4"
		[ ! -e "$3" ] || exit 0
	done
done
