#!/bin/sh
# A file that is open in the mount is followed when it is renamed, moved away, linked or deleted outside; a
# directory that nobody entered shows what its times became.
. "${0%/*}/../lib.sh"
make_repo a
mkdir "$R/a/quiet"
echo one >"$R/a/f"
echo one >"$R/a/g"
echo one >"$R/a/h"
start_mount
exec 3<"$M/a/f" 4<"$M/a/g" 5<"$M/a/h"
eq "$(cat /dev/fd/3 /dev/fd/4 /dev/fd/5)" 'one
one
one' 'at first'
# A second path to the same open file: /dev/fd opens it anew, by its inode.
mv "$R/a/f" "$R/a/f2"
mv "$R/a/g" "$T/g2"
sleep 0.2
echo two >>"$R/a/f2"
echo two >>"$T/g2"
wait_until '[ "$(cat /dev/fd/3)" = "one
two" ]'
wait_until '[ "$(cat /dev/fd/4)" = "one
two" ]'
ln "$R/a/h" "$R/a/src/h2"
ls "$M/a/src" >/dev/null
sleep 0.2
echo two >>"$R/a/src/h2"
wait_until '[ "$(cat "$M/a/h")" = "one
two" ]'
rm "$R/a/h" "$R/a/src/h2"
wait_until '! [ -e "$M/a/h" ]'
eq "$(cat /dev/fd/5)" 'one
two' 'a deleted file that is open'
wait_until '[ "$(stat -L -c %h /dev/fd/5)" = 0 ]'
stat "$M/a/quiet" >/dev/null
touch "$R/a/quiet/new"
wait_until '[ "$(stat -c %y "$M/a/quiet")" = "$(stat -c %y "$R/a/quiet")" ]'
exec 3<&- 4<&- 5<&-
stop_mount
