#!/bin/sh
# What a program writes through a shared mapping lands in the real file, at home and in a foreign repository,
# there with a record of the session that had the file open.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
head -c 8192 /dev/zero | tr '\0' . >"$R/a/f"
head -c 8192 /dev/zero | tr '\0' . >"$R/b/f"
start_mount
for f in f ../b/f; do
	check in_repo a rrm-workload mmap "$f" 5000 mapped
done
wait_until '[ "$(tail -c +5001 "$R/a/f" | head -c 6)" = mapped ]'
wait_until '[ "$(tail -c +5001 "$R/b/f" | head -c 6)" = mapped ]'
eq "$(stat -c %s "$R/b/f")" 8192 'size'
audit_settles b 1 '.path == "f" and .result == "ok"'
eq "$(audit_count a)" 0 'records of a'
stop_mount
