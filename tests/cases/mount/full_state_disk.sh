#!/bin/sh
# The state directory's disk is full: a foreign write fails with a sentence or lands with its record, never
# half; reads and home writes go on, and what the policy refuses is refused; with room again, all works.
# needs: root
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
make_repo c
write_config '{"policy": {"c": "readonly"}}'
cp -r "$S" "$T/s.keep"
rm -rf "$S"
mkdir "$S"
mount -t tmpfs -o size=2m,mode=700 rrm-test "$S"
cp -r "$T/s.keep/." "$S"
start_mount
check in_repo a sh -c 'echo before >../b/before'
head -c 4000000 /dev/zero >"$S/filler" 2>/dev/null || true
landed=0
for i in $(seq 40); do
	# every one of these comes with a record, and some day there is no room for it
	if in_repo a sh -c "head -c 20000 /dev/urandom >../b/f$i" 2>"$T/x/err"; then
		landed=$((landed + 1))
		eq "$(stat -c %s "$R/b/f$i")" 20000 "size of f$i, reported as written"
	fi
done
eq "$(in_repo a cat ../b/README.md)" '# b' 'reading b'
for i in $(seq 20); do
	fails_with 'Read-only file system' in_repo a mkdir "../c/d$i"
done
grep -q 'mkdir c/d20: EROFS: c takes no writes' "$M/.rrm/errors" || die "errors: $(cat "$M/.rrm/errors")"
check in_repo a sh -c 'echo at home >f'
eq "$(cat "$R/a/f")" 'at home' 'a write at home'
rm -f "$S/filler"
check in_repo a sh -c 'echo after >../b/after'
eq "$(cat "$R/b/after")" after 'a write with room again'
fails_with 'Read-only file system' in_repo a mkdir ../c/after
wait_until 'rrm log c --json 2>/dev/null | jq -e ".[] | select(.path == \"after\" and .result == \"EROFS\")" >/dev/null'
check rrm stop b >/dev/null
eq "$(audit_count b '.path == "before" and .result == "ok"')" 1 'records of before'
eq "$(audit_count b '.path == "after" and .result == "ok"')" 1 'records of after'
for i in $(seq 40); do
	if [ -s "$R/b/f$i" ] && [ "$(audit_count b ".path == \"f$i\"")" = 0 ]; then
		die "f$i was written without a record ($landed landed)"
	fi
done
check rrm log b --verify >/dev/null
stop_mount
