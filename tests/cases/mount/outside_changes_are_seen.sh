#!/bin/sh
# What is changed in the real tree shows in the mount soon, whatever kind of change, also when the mount
# had cached what was there before.
. "${0%/*}/../lib.sh"
make_repo a
mkdir "$R/a/dir" "$R/a/dir/sub"
for f in content size gone renamed replaced mode dir/in dir/sub/in; do
	echo "$f" >"$R/a/$f"
done
start_mount
look() {
	find "$M/a" -ls >/dev/null
	for f in content size gone renamed replaced mode dir/in dir/sub/in; do
		cat "$M/a/$f" >/dev/null || return 1
	done
	refuse test -e "$M/a/created"
	refuse test -e "$M/a/dir2"
}
look
look

echo made >"$R/a/created"
wait_until '[ "$(cat "$M/a/created" 2>/dev/null)" = made ]'
wait_until 'find "$M/a" -maxdepth 1 | grep -qx "$M/a/created"'
printf 'CONTENT\n' | dd of="$R/a/content" conv=notrunc status=none
wait_until '[ "$(cat "$M/a/content")" = CONTENT ]'
seq 1 5000 >>"$R/a/size"
wait_until 'cmp -s "$R/a/size" "$M/a/size"'
rm "$R/a/gone"
wait_until '! [ -e "$M/a/gone" ]'
mv "$R/a/renamed" "$R/a/renamed2"
wait_until '! [ -e "$M/a/renamed" ] && [ "$(cat "$M/a/renamed2")" = renamed ]'
echo replacement >"$R/a/tmp"
mv "$R/a/tmp" "$R/a/replaced"
wait_until '[ "$(cat "$M/a/replaced")" = replacement ]'
chmod 700 "$R/a/mode"
wait_until '[ "$(stat -c %a "$M/a/mode")" = 700 ]'
mv "$R/a/dir" "$R/a/dir2"
wait_until '! [ -e "$M/a/dir" ] && [ "$(cat "$M/a/dir2/sub/in")" = dir/sub/in ]'
# changes below the moved directory are seen under its new name
echo later >"$R/a/dir2/sub/in"
wait_until '[ "$(cat "$M/a/dir2/sub/in")" = later ]'
mkdir -p "$R/a/dir2/sub/new/er"
echo x >"$R/a/dir2/sub/new/er/f"
wait_until '[ "$(cat "$M/a/dir2/sub/new/er/f" 2>/dev/null)" = x ]'
rm -r "$R/a/dir2"
wait_until '! [ -e "$M/a/dir2" ]'
git -C "$R/a" checkout -q -b side
wait_until '[ "$(in_repo a git branch --show-current)" = side ]'
# git wrote its logs, too, and each file is heard of by itself
wait_until 'diff -rq --no-dereference "$R/a" "$M/a" >/dev/null'
stop_mount
