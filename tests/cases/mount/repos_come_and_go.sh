#!/bin/sh
# rrm add and rrm remove show in a running mount at once; what was removed is no longer there.
. "${0%/*}/../lib.sh"
make_repo a
start_mount
eq "$(ls "$M")" a 'repos at first'
git_repo b
check rrm add "$R/b" >/dev/null
wait_until '[ "$(cat "$M/b/README.md" 2>/dev/null)" = "# b" ]'
wait_until '[ "$(ls "$M" | tr "\n" " ")" = "a b " ]' # asked for by its name it may be there before
check in_repo a sh -c 'echo hi >../b/f'
eq "$(cat "$R/b/f")" hi 'a foreign write into the new repo'
check test -e "$M/.rrm/repos/b/root"
check rrm remove b >/dev/null
wait_until '! [ -e "$M/b/README.md" ]'
wait_until '[ "$(ls "$M")" = a ]'
wait_until '! [ -e "$M/.rrm/repos/b" ]'
eq "$(cat "$R/b/f")" hi 'the real file after rrm remove'
git_repo c
check rrm add --name other "$R/c" >/dev/null
wait_until '[ "$(ls "$M")" = "a
other" ]'
eq "$(cat "$M/other/README.md")" '# c' 'a repo under another name'
mkdir "$T/more"
for n in d e; do
	git init -q "$T/more/$n"
done
check rrm scan "$T/more" >/dev/null
wait_until '[ "$(ls "$M" | tr "\n" " ")" = "a d e other " ]'
stop_mount
