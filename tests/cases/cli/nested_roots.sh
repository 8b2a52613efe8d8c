#!/bin/sh
# A root inside another root is a repo of its own: the longest prefix owns a path.
. "${0%/*}/../lib.sh"

make_repo outer
git init -q "$R/outer/vendor/lib"
check rrm add "$R/outer/vendor/lib" >/dev/null
name_of() {
	rrm status "$1" --json | jq -r '.[0].name'
}
eq "$(name_of "$R/outer/vendor/lib/deep/file")" lib 'the owner inside'
eq "$(name_of "$R/outer/vendor/library")" outer 'the owner beside'
cd "$R/outer/vendor/lib"
eq "$(name_of .)" lib 'the repo of the working directory'
cd "$T"
# and the scan finds a submodule that the outer one names
check rrm remove lib >/dev/null
printf '[submodule "l"]\n\tpath = vendor/lib\n\turl = x\n' >"$R/outer/.gitmodules"
eq "$(rrm scan "$R" | cut -d' ' -f2)" lib 'what the scan found anew'
