#!/bin/sh
# Waiting for the turn is bounded by lock_timeout_ms: EBUSY, and .rrm/errors says who holds it.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
write_config '{"lock_timeout_ms": 300}'
start_mount
check in_repo a sh -c 'echo x >../b/f'
# With a bound of its own: the mount, which has the turn, gives it back when the machine lets it.
rrm lock b --timeout 60 -- sh -c ": >'$T/held'; while ! [ -e '$T/release' ]; do sleep 0.02; done" &
holder=$!
wait_until '[ -e "$T/held" ]'
begun=$(date +%s)
fails_with 'busy' in_repo a perl -e 'mkdir "../b/d" or die lc $!'
fails_with 'busy' in_repo b perl -e 'mkdir "d" or die lc $!'
[ $(($(date +%s) - begun)) -le 20 ] || die 'EBUSY took too long'
for words in 'mkdir b/d: EBUSY: the write turn of b was not free within 300 ms' 'sh pid' ' since 20' 'try again later'; do
	grep EBUSY "$M/.rrm/errors" | grep -qF -e "$words" || die "no '$words' in errors: $(cat "$M/.rrm/errors")"
done
eq "$(grep -c 'mkdir b/d: EBUSY' "$M/.rrm/errors")" 2 "in $(cat "$M/.rrm/errors"), who waited, one of them at home"
: >"$T/release"
check wait "$holder"
refuse test -e "$R/b/d"
check in_repo a mkdir ../b/d
check test -d "$R/b/d"
stop_mount
