#!/bin/sh
# What was read once is read again without asking rrm-mount: counted.
. "${0%/*}/../lib.sh"
make_repo a
for d in $(seq 20); do
	mkdir "$R/a/d$d"
	for f in $(seq 25); do
		echo "$d $f" >"$R/a/d$d/f$f"
	done
done
# older than the index: what is as young as it git looks at again and again, and writes the index
find "$R/a" -path '*/.git' -prune -o -exec touch -h -d '1 hour ago' '{}' +
git -C "$R/a" add -A
git -C "$R/a" commit -qm many
start_mount
in_a() {
	in_repo a "$@"
}
# none_of WHAT CMD...: CMD prints no request. The kernel may drop what it has cached whenever it wants the
# memory, so one of some runs is enough: what we cause ourselves is caused in each.
none_of() {
	no_what=$1
	shift
	for _ in 1 2 3 4 5; do
		no_got=$("$@")
		[ -n "$no_got" ] || return 0
	done
	die "requests of $no_what: $no_got"
}
in_a git status --porcelain >/dev/null
in_a git --no-optional-locks status --porcelain >/dev/null
in_a git --no-optional-locks status --porcelain >/dev/null
none_of 'a warm git status' requests_of in_a git --no-optional-locks status --porcelain
# Without that option git makes .git/index.lock and removes it again, even when there is nothing to write:
# a change of a directory, and of nothing else.
beyond_the_lock() {
	requests_of in_a git status --porcelain | tr ' ' '\n' | grep -vE '^(CREATE|UNLINK|LOOKUP)=1$|^GETATTR=[12]$' || true
}
none_of 'a warm git status beyond those for its lock' beyond_the_lock
in_a find . -ls >/dev/null
in_a find . -ls >/dev/null
# find and grep begin with a statfs(2) of their own, which the kernel always passes on
but_statfs() {
	requests_of "$@" | sed 's/^STATFS=1$//'
}
none_of 'a warm find' but_statfs in_a find . -ls
in_a ls -lR >/dev/null
in_a ls -lR >/dev/null
# ls asks for the label of one file, hears that there are none here, and asks no more in that run
but_label() {
	requests_of "$@" | sed 's/^GETXATTR=1$//'
}
none_of 'a warm ls -lR' but_label in_a ls -lR
in_a grep -r nothing-has-this . || true
in_a grep -r nothing-has-this . || true
in_a grep -r nothing-has-this . || true
none_of 'a warm grep -r' but_statfs in_a sh -c 'grep -r nothing-has-this . || true'
in_a rg nothing-has-this . || true
in_a rg nothing-has-this . || true
none_of 'a warm rg' requests_of in_a sh -c 'rg nothing-has-this . || true'
stop_mount
