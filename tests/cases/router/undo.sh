#!/bin/sh
# rrm undo puts back what a foreign change replaced or removed: content, mode, owner, times and name, as new
# audited changes; not over something that changed since, unless it is told to.
# timeout: 400
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount

# of PATH...: all that undo promises to put back.
of() {
	for of_path; do
		stat -c '%n %A %U:%G %s %y' "$of_path" 2>&1 | sed 's/.*No such file.*/gone/'
		[ ! -L "$of_path" ] || readlink "$of_path"
		[ ! -f "$of_path" ] || sha256sum <"$of_path"
		getfattr -d --absolute-names "$of_path" 2>/dev/null | sed 1d
	done
}
last() {
	last_audit b "$1"
}
# undone WHAT CMD...: CMD, foreign, is undone by undoing its records, newest first; then undoing that (all of
# its records) brings back what CMD had made.
undone() {
	un_what=$1
	shift
	un_before=$(of "$R/b/f" "$R/b/g" "$R/b/l" "$R/b/d" "$R/b/new")
	un_first=$(last .seq) # not how many: a slow machine splits a write
	un_first=${un_first:-0}
	check in_repo a "$@"
	un_after=$(of "$R/b/f" "$R/b/g" "$R/b/l" "$R/b/d" "$R/b/new")
	[ "$un_before" != "$un_after" ] || die "$un_what changed nothing"
	# A write of our own ends what waits to be continued; coalesced writes are in the log 100 ms later.
	echo marker | check rrm write b/marker
	wait_until "[ \"\$(last .seq)\" -ge $((un_first + 2)) ]"
	wait_until "[ \"\$(last '.path')\" = marker ]"
	un_records=$(audit b "select(.seq > $un_first and .path != \"marker\") | .seq" | sort -rn)
	for un_seq in $un_records; do
		check rrm undo --force b "$un_seq" >/dev/null
	done
	eq "$(of "$R/b/f" "$R/b/g" "$R/b/l" "$R/b/d" "$R/b/new")" "$un_before" "$un_what, undone"
	# For the mount that was a change outside: what comes next may be about what it hears of only now.
	wait_until '[ "$(cd "$M/b" && of f g l d new)" = "$(cd "$R/b" && of f g l d new)" ]'
}

umask 022
printf 'one\ntwo\nthree\n' >"$R/b/f"
chmod 640 "$R/b/f"
touch -d '2020-02-02 02:02:02.123456789' "$R/b/f"
setfattr -n user.k -v v1 "$R/b/f"
head -c 3000000 /dev/urandom >"$R/b/g"
ln -s where/it/led "$R/b/l"
mkdir "$R/b/d"
chmod 750 "$R/b/d"
touch -d '2021-01-01' "$R/b/d"

undone 'an overwrite' sh -c 'echo other >../b/f'
undone 'an append' sh -c 'echo more >>../b/f'
undone 'a write in the middle' sh -c 'printf X | dd of=../b/g bs=1 seek=1500000 conv=notrunc status=none'
undone 'a truncation' truncate -s 100 ../b/g
undone 'a longer file' truncate -s 4000000 ../b/g
undone 'a hole' fallocate -p -o 8192 -l 100000 ../b/g
undone 'a removal' rm ../b/f
undone 'the removal of a link' rm ../b/l
undone 'the removal of a directory' rmdir ../b/d
undone 'a mode' chmod 600 ../b/f
undone 'times' touch -d 2001-01-01 ../b/f
undone 'an attribute changed' setfattr -n user.k -v v2 ../b/f
undone 'an attribute removed' setfattr -x user.k ../b/f
undone 'an attribute added' setfattr -n user.other -v x ../b/f
undone 'a new file' sh -c 'echo new >../b/new'
undone 'a new directory' mkdir ../b/new
undone 'a new link' ln -s x ../b/new
undone 'a new name' ln ../b/f ../b/new
undone 'a fifo' mkfifo ../b/new
undone 'a rename' mv ../b/f ../b/new
undone 'a rename over another' mv ../b/f ../b/g
undone 'what sed -i does' sed -i s/two/zwei/ ../b/f
undone 'a copy over it' cp ../b/f ../b/g

# over FILE TEXT: one write(2) by a foreigner at its beginning, so one record on the slowest machine
over() {
	in_repo a sh -c "printf %s '$2' | dd of=../b/$1 bs=64 conv=notrunc status=none"
}

# An undo is a change like others: audited, by whom, and undone itself.
over f ONE
wait_until '[ "$(last .path)" = f ]'
n=$(last .seq)
check rrm undo b "$n"
eq "$(head -n 1 "$R/b/f")" one 'the content after undo'
m=$(audit b "select(.seq > $n and .path == \"f\" and .op == \"write\") | .seq" | sort -rn) # one, or two: it wrote and cut
eq "$(audit b "select(.seq > $n and .path == \"f\" and .op == \"write\") | .actor.comm" | sort -u)" rrm 'who undid it'
for i in $m; do
	check rrm undo --force b "$i"
done
eq "$(head -n 1 "$R/b/f")" ONE 'the undo, undone'

# rrm log --diff shows what each record changed, also when the file has changed again since.
printf 'one\ntwo\nthree\n' >"$R/b/t"
over t 'one
zwo'
in_repo a sh -c "sleep 0.3; echo four >>../b/t; sleep 0.3; rm ../b/t"
wait_until '[ "$(last "[.op, .path] | join(\" \")")" = "unlink t" ]'
rrm log --diff --path t b >"$T/x/diff"
grep -v '^2' "$T/x/diff" >"$T/x/got"
cat >"$T/x/want" <<'END'
--- a/t
+++ b/t
@@ -1,3 +1,3 @@
 one
-two
+zwo
 three
--- a/t
+++ b/t
@@ -1,3 +1,4 @@
 one
 zwo
 three
+four
--- a/t
+++ b/t
@@ -1,4 +0,0 @@
-one
-zwo
-three
-four
END
diff -u "$T/x/want" "$T/x/got" >&2 || die 'log --diff shows something else'
eq "$(status_of rrm log --diff --json b)" 2 '--diff with --json'

# Not over what changed since.
over f 'theirs '
wait_until "[ \"\$(audit_count b 'select(.path == \"f\" and .bytes == 7)')\" = 1 ]"
n=$(last .seq)
echo 'its own work' >"$R/b/f"
fails_with 'was changed since' rrm undo b "$n"
eq "$(cat "$R/b/f")" 'its own work' 'what the owner wrote'
check rrm undo --force b "$n"
eq "$(head -n 1 "$R/b/f")" ONE 'forced'
over f 'one,'
over f 'two,'
wait_until "[ \"\$(audit_count b 'select(.path == \"f\" and .bytes == 4)')\" -ge 2 ]"
n=$(audit b 'select(.path == "f" and .bytes == 4) | .seq' | tail -n 2 | head -n 1)
fails_with 'undo that first, or pass --force' rrm undo b "$n"
# One after the other, from the last one back: what was undone already stands in nobody's way.
echo zero >"$R/b/steps"
step() {
	audit b "select(.path == \"steps\" and .op == \"write\") | .seq" | sed -n "$1p"
}
for i in 1 2 3; do
	in_repo a sh -c "echo $i >>../b/steps"
	wait_until "[ -n \"\$(step $i)\" ]"
done
fails_with 'undo that first' rrm undo b "$(step 2)"
for i in 3 2 1; do
	check rrm undo b "$(step $i)"
done
eq "$(cat "$R/b/steps")" zero 'after three steps back'
in_repo a rm ../b/f
wait_until '[ "$(last .op)" = unlink ]'
echo again >"$R/b/f"
fails_with 'is there again' rrm undo b "$(last .seq)"

# What cannot be undone says so.
fails_with 'has no record 999999' rrm undo b 999999
eq "$(status_of rrm undo b)" 2 'usage without a number'
eq "$(status_of rrm undo b one)" 2 'usage with a word'
refuse in_repo a rmdir ../b/.git 2>/dev/null
wait_until '[ "$(last .result)" = ENOTEMPTY ]'
fails_with 'changed nothing that could be undone (ENOTEMPTY)' rrm undo b "$(last .seq)"
truncate -s 20M "$R/b/large"
in_repo a sh -c 'printf x | dd of=../b/large bs=1 conv=notrunc status=none'
wait_until '[ "$(last .path)" = large ]'
if [ "$(last '.undo.kept')" = null ]; then # else the file system has reflinks
	fails_with 'was not kept: 20971520 bytes are more than is kept' rrm undo b "$(last .seq)"
fi
rm -rf "$(state_dir b)/undo"
wait_until '[ -e "$M/b/f" ]' # made outside
in_repo a chmod 600 ../b/f
check rrm stop b
fails_with 'is kept no longer' rrm undo b "$(audit b 'select(.undo.kept != null) | .seq' | tail -n 1)"
check rrm log --verify b >/dev/null

# Bounded: with 1 MiB, the oldest copies go.
write_config '{"undo_keep_mib":1}'
mkdir "$(state_dir b)/undo"
echo old >"$(state_dir b)/undo/1000000000000" # its number is when it was kept: 2001
echo torn >"$(state_dir b)/undo/1000000000001.new"
check rrm restart b >/dev/null
eq "$(ls "$(state_dir b)/undo")" '' 'what is older than undo_keep_days, or was cut short'
head -c 300000 /dev/urandom >"$R/b/h"
for i in 1 2 3 4 5 6 7 8; do
	echo $i | check rrm write b/h
	head -c 300000 /dev/urandom >"$R/b/h"
done
wait_until "[ \"\$(audit_count b 'select(.path == \"h\")')\" -ge 8 ]"
kept=$(cat "$(state_dir b)"/undo/* | wc -c)
if [ "$kept" -le 300000 ] || [ "$kept" -gt 1048576 ]; then
	die "undo/ holds $kept bytes"
fi
write_config '{"undo_keep_mib":0}'
check rrm restart b >/dev/null
echo 9 | check rrm write b/h
# the first record of the turn says it
none() {
	last_audit b 'select(.path == "h" and .undo.why == "undo_keep_mib is 0") | .seq'
}
wait_until '[ -n "$(none)" ]'
fails_with 'undo_keep_mib is 0' rrm undo b "$(none)"
stop_mount
