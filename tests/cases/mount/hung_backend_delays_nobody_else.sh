#!/bin/sh
# The backend of one repository hangs with 40 writers behind it: foreign writes to others, writes at home, readers (of that
# repository, too), whoever looks at .rrm, and changes from outside go on at once. When it goes on, so do the writers.
# timeout: 240
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
make_repo c
for i in $(seq 40); do
	: >"$R/b/f$i"
done
write_config '{"lock_timeout_ms":120000}'
start_mount
check in_repo a sh -c 'echo warm >../b/warm; echo warm >../c/warm'
hung=$(jq .pid "$(state_dir b)/registry.json")
kill -STOP "$hung"
i=1
jobs=
while [ $i -le 40 ]; do
	in_repo a sh -c "echo $i >>../b/f$i" &
	jobs="$jobs $!"
	i=$((i + 1))
done
wait_until '[ "$(jq "[.[] | select(.name == \"b\") | .turn.waiters[]?] | length" "$M/.rrm/status")" -ge 30 ]'

begun=$(date +%s)
check in_repo a sh -c 'for i in $(seq 50); do echo $i >../c/c$i || exit 1; done'
check in_repo a sh -c 'for i in $(seq 50); do echo $i >at-home$i || exit 1; done'
check in_repo c sh -c 'for i in $(seq 50); do echo $i >at-home$i || exit 1; done'
eq "$(find "$R/c" -maxdepth 1 -name 'c[0-9]*' | wc -l) $(find "$R/a" "$R/c" -name 'at-home*' | wc -l)" '50 100' 'what was written meanwhile'
eq "$(wc -l <"$M/b/src/deep/numbers.txt")" 2000 'reading what the hung one has'
eq "$(in_repo a sh -c 'find ../b -type f -exec cat {} + | wc -l')" "$(find "$R/b" -type f -exec cat {} + | wc -l)" 'all of it'
echo outside >"$R/b/outside"
wait_until "[ \"\$(cat '$M/b/outside' 2>/dev/null)\" = outside ]"
eq "$(in_repo a jq -r .rule "$M/.rrm/whoami" | wc -l)" 1 'whoami'
took=$(($(date +%s) - begun))
# The writers are answered after lock_timeout_ms at the earliest: nobody waited for them.
[ "$took" -lt 60 ] || die "it took $took s while a backend hung"
kill -0 "$hung" || die 'the hung backend was ended meanwhile: this saw nothing'

kill -CONT "$hung"
for j in $jobs; do
	wait "$j" || die 'a writer behind the hung backend failed'
done
i=1
while [ $i -le 40 ]; do
	eq "$(cat "$R/b/f$i")" "$i" "what writer $i wrote"
	i=$((i + 1))
done
stop_mount
check rrm log b --verify >/dev/null
