#!/bin/sh
# The root of a repository is deleted, made anew and moved outside: the mount follows. A repository that was
# removed and added under another name has that one.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
eq "$(cat "$M/b/README.md")" '# b' 'at first'
rm -rf "$R/b"
wait_until '! [ -e "$M/b" ]'
git_repo b
echo new >"$R/b/new"
wait_until '[ "$(cat "$M/b/new" 2>/dev/null)" = new ]'
check in_repo a sh -c 'echo hi >../b/f'
eq "$(cat "$R/b/f")" hi 'a write into the new tree'
mv "$R/b" "$R/elsewhere"
wait_until '! [ -e "$M/b" ]'
mv "$R/elsewhere" "$R/b"
wait_until '[ "$(cat "$M/b/f" 2>/dev/null)" = hi ]'
check rrm remove b >/dev/null
wait_until '! [ -e "$M/b" ]'
check rrm add --name other "$R/b" >/dev/null
wait_until '[ "$(cat "$M/other/f" 2>/dev/null)" = hi ]'
refuse test -e "$M/b"
stop_mount
