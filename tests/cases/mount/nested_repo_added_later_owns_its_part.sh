#!/bin/sh
# Files that the kernel knows already belong to a nested repository from when it is added, and to the outer
# one again when it is removed; a directory moved from one repository to another belongs to that.
. "${0%/*}/../lib.sh"
make_repo a
make_repo outer
mkdir -p "$R/outer/in/deep"
echo 0 >"$R/outer/in/deep/f"
git init -q -b main "$R/outer/in"
start_mount
eq "$(cat "$M/outer/in/deep/f")" 0 'at first'
check in_repo a sh -c 'echo 1 >../outer/in/deep/f'
check rrm add --name in "$R/outer/in" >/dev/null
wait_until '[ -e "$M/in/deep/f" ]'
check in_repo a sh -c 'echo 2 >../outer/in/deep/f'
check in_repo outer sh -c 'echo 3 >in/deep/f'
eq "$(cat "$R/outer/in/deep/f")" 3 'what was written last'
audit_settles in 2 '.path == "deep/f"'
check rrm remove in >/dev/null
wait_until '! [ -e "$M/in" ]'
check in_repo a sh -c 'echo 4 >../outer/in/deep/f'
audit_settles outer 2 '.path == "in/deep/f"'
mv "$R/outer/in/deep" "$R/a/deep"
wait_until '[ "$(cat "$M/a/deep/f" 2>/dev/null)" = 4 ]'
check in_repo a sh -c 'echo 5 >deep/f'
check in_repo outer sh -c 'echo 6 >../a/deep/f'
eq "$(cat "$R/a/deep/f")" 6 'the moved file'
audit_settles a 1 '.path == "deep/f"'
stop_mount
