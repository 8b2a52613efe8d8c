#!/bin/sh
# kill -9 of the server, again and again, while programs read, write, append, map, make, link, rename and remove, at
# home and in another repository: no call fails, nothing is lost, nothing is done twice, and the audit has one
# record for each foreign change. RRM_KILLS: how many times (20).
# timeout: 200
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
mkdir "$R/a/load" "$R/b/load"
touch "$R/a/load/lines" "$R/b/load/lines"
exec 3<"$M/a/README.md"
in_repo a rrm-unnoticed "$M/a/load" "$M/b/load" "$T/stop" >"$T/counts" 2>"$T/failed" &
load=$!
wait_until '[ -s "$M/b/load/lines" ]' 60
kills=0
while [ "$kills" -lt "${RRM_KILLS-20}" ]; do
	kill_server
	kills=$((kills + 1))
	sleep "0.$((kills * 7 % 3))$((kills * 3 % 10))"
	kill -0 "$load" 2>/dev/null || break
	[ ! -s "$T/failed" ] || break
done
touch "$T/stop"
st=0
wait "$load" || st=$?
eq "$st $(cat "$T/failed")" '0 ' 'the programs in the mount'
eq "$kills" "${RRM_KILLS-20}" 'kills'
rrm | grep -qx "  mount  *$M, served by pid $(server_pid)" || die "rrm alone says: $(rrm)"
eq "$(cat <&3)" '# a' 'a file that was open all the time'
exec 3<&-
cmp "$M/a/load/lines" "$R/a/load/lines" || die 'home: what the mount shows'
cmp "$M/b/load/lines" "$R/b/load/lines" || die 'foreign: what the mount shows'

# the audit: records of appends are merged, and the kernel splits a write at a page's end, so bytes are counted
bytes=$(wc -c <"$R/b/load/lines")
names=$(find "$R/b/load" -name 'names.*' | wc -l)
check rrm stop b >/dev/null
eq "$(audit b 'select(.path == "load/lines" and .result == "ok" and (.op == "append" or .op == "write")) | .bytes' |
	awk '{ n += $1 } END { print n }')" "$bytes" 'appended bytes in the audit'
eq "$(audit b 'select(.op == "create" and (.path | startswith("load/names."))) | .path' | sort | uniq | wc -l)" \
	"$names" 'names in the audit'
eq "$(audit b 'select(.op != "append" and .op != "write") | [.op, .path, .path2]' | sort | uniq -d)" '' 'recorded twice'
eq "$(audit b 'select(.result != "ok") | [.op, .path, .result, .errno]')" '' 'failed or interrupted'
eq "$(grep -c event=take_over "$T/mount.log")" "$kills" 'successors'
stop_mount
