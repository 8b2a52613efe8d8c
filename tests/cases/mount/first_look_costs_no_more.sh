#!/bin/sh
# needs: root
# timeout: 120
# What the first change of a process costs in looks at it: its stat and its environment, once each, and neither its directory
# nor anything of its ancestors but directories, as long as those live. (What that is in time: tests/bench/bench_turns.c.)
. "${0%/*}/../lib.sh"
write_config '{"transport":"dev"}'
make_repo a
n=30
start_mount
server=$(server_pid)
# one shell, whose children each make one directory, which is one change
cat >"$T/children" <<'EOF'
while read -r name; do
	sh -c 'echo "$$" >>"$1" && exec mkdir "$2"' sh "$1" "$name"
done
echo "$$" >"$2"
EOF
mkfifo "$T/names"
in_repo a sh "$T/children" "$T/pids" "$T/parent" <"$T/names" &
exec 9>"$T/names"
echo before >&9
wait_until "[ -d '$M/a/before' ]"
strace -f -s 200 -e trace=%file -o "$T/trace" -p "$server" >/dev/null 2>"$T/strace.err" 9>&- &
tracer=$!
wait_until '! grep -qs "^TracerPid:.0$" "/proc/$server"/task/*/status'
: >"$T/pids"
seq -f 'd%g' "$n" >&9
exec 9>&-
wait_until "[ -s '$T/parent' ]"
wait_until "[ -d '$M/a/d$n' ]"
kill -INT "$tracer"
wait "$tracer" || true
eq "$(wc -l <"$T/pids")" "$n" 'so many children'
while read -r pid; do
	for look in stat environ cwd; do
		printf '%s %s\n' "$look" "$(grep -c "\"/proc/$pid/$look\"" "$T/trace" || true)"
	done
done <"$T/pids" | sort | uniq -c >"$T/looks"
said=$(awk '{ print $1, $2, $3 }' "$T/looks" | paste -sd';')
eq "$said" "$n cwd 0;$n environ 1;$n stat 1" 'looks at each child'
parent=$(grep -c "\"/proc/$(cat "$T/parent")/\(stat\|environ\)\"" "$T/trace" || true)
[ "$parent" -le 2 ] || die "their parent was looked at $parent times"
stop_mount
