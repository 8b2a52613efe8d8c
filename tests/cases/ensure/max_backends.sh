#!/bin/sh
# max_backends: the least recently used idle one makes room; where none is idle, a sentence says which run;
# starts of many repos at once never exceed the number.
# timeout: 180
. "${0%/*}/../lib.sh"
write_config '{"backend":"embedded","max_backends":2}'
for n in a b c d e f; do
	make_repo "$n"
done
running() {
	for ru in a b c d e f; do
		rrm status --json $ru | jq -r '.[0] | select(.pid) | .name'
	done | paste -sd' '
}
check rrm ensure a >/dev/null
check rrm ensure b >/dev/null
check rrm ensure a >/dev/null
check rrm ensure c >/dev/null
eq "$(running)" 'a c' 'what runs: b was used longer ago than a'

# Both in use.
mkfifo "$T/hold"
clients=
for n in a c; do
	bash -c "exec 3<>/dev/tcp/127.0.0.1/$(cat "$(state_dir $n)/port"); echo >$T/x/on.$n; read -r _ <$T/hold" &
	clients="$clients $!"
	wait_until "[ -e $T/x/on.$n ]"
done
fails_with 'starting backend for b: 2 backends run (a, c), as many as max_backends allows, and none is idle' \
	rrm ensure b
eq "$(running)" 'a c' 'what runs after the refusal'
eq "$(rrm status --json b | jq -r '.[0].state')" failed 'the state of b'
check rrm ensure a >/dev/null
exec 9<>"$T/hold"
echo >&9
echo >&9
for c in $clients; do
	wait "$c"
done
exec 9>&-
check rrm ensure b >/dev/null
eq "$(running)" 'a b' 'what runs then: c was used longer ago'

# Six at once: some may be refused, for all are in use for a moment, but never are there three.
check rrm stop --all
touch "$T/x/go"
(
	most=0
	while [ -e "$T/x/go" ]; do
		# A backend that ends has a child for a moment when it was built with LeakSanitizer: the same words, no backend.
		# One that has ended since the look at its words, while another one began, is none any more.
		now=$(grep -lzx -e "RRM_TEST_CASE=$RRM_TEST_CASE" /proc/[0-9]*/environ 2>/dev/null |
			sed 's|/environ|/cmdline|' | xargs -r grep -lz -e '^--serve$' 2>/dev/null | sed 's|/cmdline|/stat|' |
			xargs -r cat 2>/dev/null | sed 's/(.*)//' | awk '{ of[$1] = $3; ended[$1] = $2 ~ /[ZX]/ } END { for (p in of) n += !ended[p] && !(of[p] in of); print n + 0 }')
		[ "$now" -le "$most" ] || most=$now
	done
	echo "$most" >"$T/x/most"
) &
watcher=$!
jobs=
for n in a b c d e f; do
	rrm ensure "$n" >/dev/null 2>"$T/x/err.$n" &
	jobs="$jobs $!"
done
ok=0
for j in $jobs; do
	if wait "$j"; then
		ok=$((ok + 1))
	fi
done
rm "$T/x/go"
wait "$watcher"
[ "$ok" -ge 2 ] || die "only $ok started: $(cat "$T"/x/err.*)"
[ "$(cat "$T/x/most")" -le 2 ] || die "there were $(cat "$T/x/most") at once"
