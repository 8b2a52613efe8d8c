#!/bin/sh
# timeout: 240
# What is small is kept for rrm undo in a file that has many pieces: removing 200 files makes no 200 others, and yet each
# comes back as it was. What is larger has a file of its own. The oldest go first, and nothing is lost by kill -9.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
undo=$(state_dir b)/undo
start_mount

# of PATH...: all that undo promises to put back.
of() {
	for of_path; do
		stat -c '%n %A %U:%G %s %y' "$of_path" || echo "$of_path is gone"
		sha256sum <"$of_path" || true
		getfattr -d -m - --absolute-names "$of_path" 2>/dev/null | sed 1d
	done 2>/dev/null
}
seq_of() { # seq_of PATH: of its removal
	audit b "select(.op == \"unlink\" and .path == \"$1\") | .seq" | tail -n 1
}
kept_of() { # kept_of PATH [KEY]
	audit b "select(.op == \"unlink\" and .path == \"$1\") | .undo.${2-kept}" | tail -n 1
}
mkdir "$R/b/d"
i=0
while [ $i -lt 200 ]; do
	seq 1 $((i * 7)) >"$R/b/d/f$i" # the first one is empty
	i=$((i + 1))
done
chmod 4751 "$R/b/d/f20"
[ "$(id -u)" != 0 ] || chown 12:34 "$R/b/d/f40"
touch -d '2020-02-02 02:02:02.123456789' "$R/b/d/f60"
setfattr -n user.one -v 1 "$R/b/d/f80"
setfattr -n user.empty "$R/b/d/f80"
setfattr -n user.long -v "$(seq -s, 1 300)" "$R/b/d/f80"
setfattr -n user.only -v attribute "$R/b/d/f0"
head -c 65536 /dev/urandom >"$R/b/d/most"
head -c 65537 /dev/urandom >"$R/b/d/more"
head -c 65536 /dev/urandom >"$R/b/d/attributed"
setfattr -n user.k -v v "$R/b/d/attributed" "$R/b/d/more"
: >"$R/b/d/empty"
special='d/f0 d/f1 d/f20 d/f40 d/f60 d/f80 d/f199 d/most d/more d/attributed d/empty'
# shellcheck disable=SC2046,SC2086 # words
before=$(cd "$R/b" && of $special)

in_repo a sh -c 'rm -r ../b/d'
wait_until '[ "$(last_audit b .op)" = rmdir ]'
eq "$(audit_count b '.op == "unlink" and .result == "ok"')" 204 'records of removals'
eq "$(audit_count b '.op == "unlink" and .undo.why != null')" 0 'not kept'
# 0.4 MiB of pieces, those from before an hour perhaps on their own; and two of their own.
[ "$(find "$undo" -type f | wc -l)" -le 6 ] || die "undo/ has $(find "$undo" -type f | wc -l) files"
eq "$(kept_of d/empty)" null 'what is kept of nothing'
eq "$(kept_of d/most kept_len) $(kept_of d/more kept_len) $(kept_of d/attributed kept_len)" '65536 null null' 'pieces'
eq "$(kept_of d/f0 kept_len)" 0 'the content of an empty one with an attribute'

# foreign_rm PATH...: what undo has put back is a change outside: the mount hears of it first
foreign_rm() {
	for fr; do
		wait_until "[ -e '$M/b/$fr' ]"
		in_repo a rm "../b/$fr"
	done
}

check rrm undo b "$(last_audit b .seq)" >/dev/null
for f in $special; do
	check rrm undo b "$(seq_of "$f")" >/dev/null
done
# shellcheck disable=SC2086
eq "$(cd "$R/b" && of $special)" "$before" 'undone'
rrm log --diff --path d/f2 b >"$T/x/diff"
sed -n 's/^-\([0-9]*\)$/\1/p' "$T/x/diff" >"$T/x/got"
seq 1 14 | diff - "$T/x/got" >&2 || die 'log --diff of a piece'

# Other things that are small: what a link led to, an attribute, also an empty one, and what is replaced.
ln -s some/where "$R/b/l"
echo old >"$R/b/r"
echo new >"$R/b/s"
setfattr -n user.empty "$R/b/r"
setfattr -n user.k -v v1 "$R/b/s"
before=$(cd "$R/b" && of r s && readlink l)
in_repo a sh -c 'rm ../b/l; setfattr -x user.empty ../b/r; setfattr -n user.k -v v2 ../b/s; mv ../b/s ../b/r'
wait_until '[ "$(last_audit b .op)" = rename ]'
small=$(audit b 'select(.path | test("^[lrs]$")) | .seq' | sort -rn)
eq "$(echo "$small" | wc -l)" 4 'records of these'
for i in $small; do
	check rrm undo --force b "$i" >/dev/null
done
eq "$(cd "$R/b" && of r s && readlink l)" "$before" 'a link, attributes, a file replaced'

# kill -9, and somebody tidies up: what was kept before is there or is said to be gone, and what comes next is kept.
echo before >"$R/b/k1"
echo after >"$R/b/k2"
echo last >"$R/b/k3"
in_repo a rm ../b/k1
kill -9 "$(jq .pid "$(state_dir b)/registry.json")"
in_repo a rm ../b/k2
wait_until '[ -n "$(seq_of k2)" ]'
[ "$(kept_of k1)" != "$(kept_of k2)" ] || die 'one file of two gateways'
for f in k1 k2; do
	check rrm undo b "$(seq_of $f)" >/dev/null
done
eq "$(cat "$R/b/k1" "$R/b/k2" | tr '\n' ' ')" 'before after ' 'after kill -9'
rm "$undo"/*
foreign_rm k3
check rrm undo b "$(seq_of k3)" >/dev/null
eq "$(cat "$R/b/k3")" last 'after somebody emptied undo/'
# ... or removed it: what has a file of its own comes first, then a piece.
for order in 'd/more k3' 'k3 d/more'; do
	rm -r "$undo"
	before=$(sha256sum <"$R/b/d/more")
	# shellcheck disable=SC2086 # words
	foreign_rm $order
	check rrm undo b "$(seq_of d/more)" >/dev/null
	check rrm undo b "$(seq_of k3)" >/dev/null
	eq "$(sha256sum <"$R/b/d/more") $(cat "$R/b/k3")" "$before last" 'after somebody removed undo/'
done
fails_with 'kept no longer' rrm undo --force b "$(seq_of d/f2)"
# What is damaged is not taken for what there was.
foreign_rm k1
: >"$(state_dir b)/$(kept_of k1)"
fails_with 'kept no longer' rrm undo b "$(seq_of k1)"

# Bounded: with 1 MiB the oldest pieces go, by files of a quarter of it.
write_config '{"undo_keep_mib":1}'
check rrm restart b >/dev/null
mkdir "$R/b/e"
i=0
while [ $i -lt 40 ]; do
	head -c 50000 /dev/urandom >"$R/b/e/$i"
	i=$((i + 1))
done
newest=$(sha256sum <"$R/b/e/39")
i=0
while [ $i -lt 40 ]; do
	echo "../b/e/$i"
	i=$((i + 1))
done >"$T/x/names"
in_repo a xargs rm <"$T/x/names"
wait_until '[ -n "$(seq_of e/39)" ]'
kept=$(cat "$undo"/* | wc -c)
if [ "$kept" -lt 500000 ] || [ "$kept" -gt 1048576 ]; then
	die "undo/ holds $kept bytes"
fi
fails_with 'kept no longer' rrm undo b "$(seq_of e/0)"
check rrm undo b "$(seq_of e/39)" >/dev/null
eq "$(sha256sum <"$R/b/e/39")" "$newest" 'the newest'
check rrm log --verify b >/dev/null
stop_mount
