#!/bin/sh
# Eight writers append to one foreign file at once, home writers among them: every line is there once.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
make_repo c
start_mount
pids=
for w in 1 2 3 4 5 6 7 8; do
	case $((w % 4)) in 0) from=b ;; 1) from=c ;; *) from=a ;; esac
	in_repo "$from" sh -c 'for i in $(seq 40); do echo "$1 $i" >>../b/log || exit 1; done' sh "$w" &
	pids="$pids $!"
done
for p in $pids; do
	check wait "$p"
done
eq "$(wc -l <"$R/b/log")" 320 lines
eq "$(sort -u "$R/b/log" | wc -l)" 320 'different lines'
check cmp "$R/b/log" "$M/b/log"
check rrm stop b >/dev/null
eq "$(audit b 'select(.path == "log") | .result' | sort -u)" ok results
id_c=$(repo_id c)
[ "$(audit_count b ".actor.home == \"$id_c\"")" -ge 1 ] || die 'no record of c'
eq "$(audit_count b ".actor.home == \"$(repo_id b)\"")" 0 'records of writes at home'
check rrm log b --verify >/dev/null
stop_mount
