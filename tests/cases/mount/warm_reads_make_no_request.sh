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
in_a git status --porcelain >/dev/null
in_a git --no-optional-locks status --porcelain >/dev/null
in_a git --no-optional-locks status --porcelain >/dev/null
eq "$(requests_of in_a git --no-optional-locks status --porcelain)" '' 'requests of a warm git status'
# Without that option git makes .git/index.lock and removes it again, even when there is nothing to write:
# a change of a directory, and of nothing else.
eq "$(requests_of in_a git status --porcelain | tr ' ' '\n' | grep -vE '^(CREATE|UNLINK|LOOKUP)=1$|^GETATTR=[12]$' || true)" '' \
	'requests of a warm git status beyond those for its lock'
in_a find . -ls >/dev/null
in_a find . -ls >/dev/null
# find and grep begin with a statfs(2) of their own, which the kernel always passes on
but_statfs() {
	requests_of "$@" | sed 's/^STATFS=1$//'
}
eq "$(but_statfs in_a find . -ls)" '' 'requests of a warm find'
in_a grep -r nothing-has-this . || true
in_a grep -r nothing-has-this . || true
in_a grep -r nothing-has-this . || true
eq "$(but_statfs in_a sh -c 'grep -r nothing-has-this . || true')" '' 'requests of a warm grep -r'
in_a rg nothing-has-this . || true
in_a rg nothing-has-this . || true
eq "$(requests_of in_a sh -c 'rg nothing-has-this . || true')" '' 'requests of a warm rg'
stop_mount
