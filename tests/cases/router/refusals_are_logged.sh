#!/bin/sh
# What is refused before its gateway is asked (EROFS, EBUSY, EDEADLK) stands with file and sentence in .rrm/errors
# and in rrm log, between what was written; the chain of hashes has nothing to do with it.
# timeout: 180
. "${0%/*}/../lib.sh"
. "$case_dir/lib_under.sh"
make_repo a
make_repo b
make_repo c
write_config '{"lock_timeout_ms": 300, "policy": {"c": "readonly"}}'
start_mount

# told ERRNO OP FILE SENTENCE: errors has a line of it.
told() {
	grep -F -e "$2 $3: $1: " "$M/.rrm/errors" | grep -qF -e "$4" ||
		die "errors has no '$2 $3: $1: ... $4': $(cat "$M/.rrm/errors")"
}
# logged REPO N [OPTIONS OF rrm log]: so many were refused, which is written a moment after the program has its errno.
logged() {
	lr=$1 ln=$2
	shift 2
	wait_until "[ \"\$(rrm log $lr --result refused --json $* | jq length)\" = $ln ]"
}

# EROFS
check in_repo b cat ../c/README.md >/dev/null
fails_with 'Read-only file system' in_repo a perl -e 'mkdir "../c/src/new" or die $!'
fails_with 'Read-only file system' in_repo b perl -e 'rename "../c/README.md", "../c/src/moved" or die $!'
told EROFS mkdir c/src/new 'c takes no writes from other repositories'
told EROFS rename c/README.md 'policy readonly'
logged c 2
line=$(rrm log c -n 2 | head -n 1)
case $line in
20*Z"  refused mkdir src/new  by perl("*") of a "*"  EROFS: c takes no writes from other repositories"*) ;;
*) die "rrm log shows '$line'" ;;
esac
rrm log c -n 1 | grep -qF 'refused rename README.md -> src/moved  by perl(' || die "rrm log: $(rrm log c)"
logged c 1 --path src/new
logged c 1 --path src/moved
logged c 1 --from b
eq "$(rrm log c --result erofs --json | jq -c 'map([.op, .result, .branch, .actor.comm, has("seq")])')" \
	'[["mkdir","EROFS","main","perl",false],["rename","EROFS","main","perl",false]]' 'by errno'
eq "$(rrm log c --result ok --json)" '[]' 'those that are ok'
eq "$(rrm log c --since 1h --until 30m --json)" '[]' 'those of an earlier time'
eq "$(rrm log c --stat --json | jq -c 'map([.comm, .records, .writes, .failed, .refused]) | unique')" \
	'[["perl",1,0,1,1]]' 'the sums'
eq "$(rrm log c --verify)" 'c: 0 records, the chain is whole' 'the chain'
rrm log c -f -n 1 --json >"$T/x/followed" &
pid=$!
wait_until '[ "$(wc -l <"$T/x/followed")" = 1 ]'
fails_with 'Read-only file system' in_repo a rm ../c/src/main.c
wait_until '[ "$(wc -l <"$T/x/followed")" = 2 ]'
kill "$pid"
wait "$pid" || true
eq "$(jq -r .path "$T/x/followed" | tail -n 1)" src/main.c 'what was followed'

# What is of no repository has its sentence in errors. Only root gets as far as the mount with it.
if [ "$(id -u)" = 0 ]; then
	fails_with 'Read-only file system' mkdir "$M/new"
	fails_with 'Read-only file system' setfattr -n user.x -v y "$M/.rrm"
	told EROFS mkdir /new 'then rrm add PATH'
	told EROFS setxattr /.rrm/ 'made by rrm-mount'
fi

# EBUSY, of a foreigner and at home; between what b's gateway recorded.
check in_repo a mkdir ../b/before
under h b true
fails_with busy in_repo a perl -e 'mkdir "../b/foreign" or die lc $!'
fails_with busy in_repo b perl -e 'mkdir "home" or die lc $!'
go h
ended h
check in_repo a mkdir ../b/after
for f in foreign home; do
	told EBUSY mkdir "b/$f" 'the write turn of b was not free within 300 ms'
done
logged b 2
wait_until '[ "$(rrm log b --json | jq length)" = 4 ]'
eq "$(rrm log b --json | jq -r 'map("\(.path):\(.result)") | join(" ")')" \
	'before:ok foreign:EBUSY home:EBUSY after:ok' 'in the order of their times'
eq "$(rrm log b -n 3 --json | jq -r 'map(.path) | join(" ")')" 'foreign home after' 'the last three'
rrm log b --path home | grep -q 'of b .*  EBUSY: the write turn of b was not free within 300 ms: sh pid' ||
	die "rrm log: $(rrm log b)"
eq "$(rrm log b --json | jq '[.[] | select(.result == "EBUSY" and .wait_us < 250000)] | length')" 0 'the waits'
check rrm log b --verify >/dev/null
stop_mount

# EDEADLK; the lines of another mount are added to those that are there.
write_config '{"lock_timeout_ms": 60000}'
start_mount
circle a ../b/never
told EDEADLK mkdir b/never 'would never come'
logged b 3
rrm log b -n 1 | grep -q 'refused mkdir never  by perl(.*EDEADLK: .*would never come' || die "rrm log: $(rrm log b)"
refuse test -e "$R/b/never"

# A damaged line is passed by and said.
echo '{"ts":"20' >>"$(state_dir b)/refused.jsonl"
eq "$(status_of rrm log b --json)" 0 'status with a damaged line'
grep -q 'refused.jsonl, the line at byte .* is skipped' "$T/x/err" || die "not said: $(cat "$T/x/err")"
check rrm log b --verify >/dev/null
stop_mount
