#!/bin/sh
# A directory that may not be changed, a file that may not be written: an ordinary user gets EACCES, at home and foreign,
# nothing is done, and the audit says so. Root may do it, as everywhere.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
mkdir "$R/b/shut"
echo kept >"$R/b/shut/f"
chmod 555 "$R/b/shut"
start_mount
for who in a b; do
	for c in 'echo x >new' 'mkdir new' 'mv f new' 'rm -f f' 'ln f new'; do
		if [ "$(id -u)" != 0 ]; then
			fails_with 'Permission denied' in_repo $who sh -c "(cd '$M/b/shut' && $c); st=\$?; exit \$st"
			eq "$(ls "$R/b/shut")" f "what is there after $c"
		else
			check in_repo $who sh -c "(cd '$M/b/shut' && $c); st=\$?; exit \$st"
			rm -rf "$R/b/shut/new"
			echo kept >"$R/b/shut/f"
			wait_until '! [ -e "$M/b/shut/new" ] && [ "$(cat "$M/b/shut/f" 2>/dev/null)" = kept ]'
		fi
	done
done
eq "$(cat "$R/b/shut/f")" kept 'the file'
chmod 755 "$R/b/shut"
wait_until '[ -w "$M/b/shut" ]' # a change outside is seen within 10 ms
check in_repo a sh -c 'echo x >../b/shut/new'
check rrm stop b >/dev/null
check rrm log b --verify >/dev/null
stop_mount
