#!/bin/sh
# A registered submodule or nested repository owns its part of the tree, through whichever path it is
# reached: the write is recorded there, not in the repository around it.
. "${0%/*}/../lib.sh"
make_repo a
git_repo lib
git_repo outer
git -C "$R/outer" -c protocol.file.allow=always submodule --quiet add "$R/lib" sub
git -C "$R/outer" commit -qm sub
git init -q -b main "$R/outer/nested"
echo n >"$R/outer/nested/n"
check rrm add "$R/outer" "$R/outer/nested" >/dev/null
check rrm add --name sub "$R/outer/sub" >/dev/null
start_mount
check in_repo a sh -c 'echo one >../outer/sub/f && echo two >../outer/nested/f && echo three >../outer/f && echo four >../sub/g'
eq "$(cat "$R/outer/sub/f") $(cat "$R/outer/nested/f") $(cat "$R/outer/f") $(cat "$R/outer/sub/g")" \
	'one two three four' 'what was written'
eq "$(cat "$M/sub/f") $(cat "$M/outer/sub/g")" 'one four' 'both ways to the submodule'
check rrm stop --all >/dev/null
eq "$(audit_writes sub .path | sort | tr '\n' ' ')" 'f g ' 'records of the submodule'
eq "$(audit_writes nested .path)" f 'records of the nested repository'
eq "$(audit_writes outer .path)" f 'records of the outer repository'
# at home in the outer one, the submodule is foreign
check in_repo outer sh -c 'echo five >sub/h && echo six >h'
check rrm stop --all >/dev/null
eq "$(audit_count sub '.path == "h"')" 1 'records of a write from the outer repository'
eq "$(audit_count outer '.path == "h"')" 0 'records of a home write'
stop_mount
