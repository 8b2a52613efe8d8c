#!/bin/sh
# Each way of changing what a foreign file holds lands in the real file and leaves one record that names
# the writer's home.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
for f in overwritten appended cut grown patched cut_open punched; do
	seq 1 1000 >"$R/b/$f"
done
git -C "$R/b" add -A
git -C "$R/b" commit -qm more
# a turn, and with it a record, ends when its writer does nothing for linger_ms: not here, however slow the machine
write_config '{"backend":"embedded","linger_ms":300}'
start_mount
a=$(repo_id a)

# As soon as the call has returned. A gateway that is not run for 200 ms is not waited for: one of some times is enough.
for i in 1 2 3 4 5 6 7 8 9 10; do
	check in_repo a sh -c "echo new >../b/logged$i"
	logged=$(rrm log b --json | jq --arg f "logged$i" '[.[] | select(.path == $f) | .bytes] | add')
	[ "$logged" != 4 ] || break
done
eq "$logged" 4 'bytes in the log, as soon as the call has returned'
check in_repo a sh -c 'echo new >../b/created'
eq "$(cat "$R/b/created")" new 'a created file'
check in_repo a sh -c 'echo over >../b/overwritten'
eq "$(cat "$R/b/overwritten")" over 'an overwritten file'
check in_repo a sh -c 'echo last >>../b/appended'
eq "$(tail -n 2 "$R/b/appended")" '1000
last' 'an appended file'
check in_repo a truncate -s 5 ../b/cut
eq "$(stat -c %s "$R/b/cut")" 5 'a cut file'
check in_repo a truncate -s 100000 ../b/grown
eq "$(stat -c %s "$R/b/grown")" 100000 'a grown file'
check in_repo a sh -c 'printf XYZ | dd of=../b/patched bs=1 seek=10 conv=notrunc status=none'
eq "$(head -c 13 "$R/b/patched" | tail -c 3)" XYZ 'a patched file'
# open, write, ftruncate, close, as OpenCode's tools write
check in_repo a perl -e 'open(my $f, "+<", "../b/cut_open") or die $!; syswrite($f, "short\n"); truncate($f, 6) or die $!'
eq "$(cat "$R/b/cut_open")" short 'a file written, then cut'
check in_repo a fallocate -l 50000 ../b/reserved
eq "$(stat -c %s "$R/b/reserved")" 50000 'a reserved file'
check in_repo a perl -MFcntl -e 'sysopen(my $f, "../b/exclusive", O_WRONLY|O_CREAT|O_EXCL) or die $!; syswrite($f, "mine")'
eq "$(cat "$R/b/exclusive")" mine 'an O_EXCL file'
fails_with 'File exists' in_repo a perl -MFcntl -e 'sysopen(my $f, "../b/exclusive", O_WRONLY|O_CREAT|O_EXCL) or die $!'
head -c 3000000 /dev/urandom >"$T/big"
check in_repo a cp "$T/big" ../b/big
check cmp "$T/big" "$R/b/big"
check cmp "$T/big" "$M/b/big"

check rrm stop b >/dev/null
for f in created overwritten appended cut grown reserved exclusive; do
	eq "$(audit_count b ".path == \"$f\" and .result == \"ok\" and .actor.home == \"$a\"")" 1 "good records of $f"
done
# one record or several: the gateway waits 100 ms for more
for f in 'patched 3' 'cut_open 2'; do
	eq "$(audit b "select(.path == \"${f% *}\" and .result == \"ok\" and .actor.home == \"$a\") | .writes" |
		awk '{ n += $1 } END { print n }')" "${f#* }" "changes in the good records of ${f% *}"
done
eq "$(audit_count b 'true | not')$(audit_count b '.actor.home != "'"$a"'"')" 00 'records of others'
eq "$(audit_count a)" 0 'records of a'
# a write of 1 MiB may take a slow machine longer than a record waits for more: then there are several
eq "$(audit b 'select(.path == "big" and .result == "ok") | .bytes' | awk '{ n += $1 } END { print n }')" 3000000 \
	'bytes in the records of a large file'
eq "$(audit b 'select(.path == "big") | .sha256_after' | tail -n 1)" "$(sha256sum <"$T/big" | cut -d ' ' -f 1)" 'its hash'
check rrm log b --verify >/dev/null
stop_mount
