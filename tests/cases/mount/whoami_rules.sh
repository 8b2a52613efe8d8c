#!/bin/sh
# Whose process is this: the topmost ancestor with its directory in the mount; a session of rrm run;
# else nobody.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
a=$(repo_id a)
b=$(repo_id b)
who() {
	jq -r '"\(.rule) \(.home)"' "$M/.rrm/whoami"
}
eq "$(who)" '3 null' 'a process outside of the mount'
eq "$(in_repo a jq -r '"\(.rule) \(.home)"' "$M/.rrm/whoami")" "2 $a" 'a shell in a'
eq "$(in_repo a sh -c 'cd ../b/src && jq -r "\"\(.rule) \(.home)\"" ../../.rrm/whoami')" "2 $b" \
	'a shell that walked from a to b'
eq "$(in_repo a sh -c '(cd ../b && jq -r "\"\(.rule) \(.home)\"" ../.rrm/whoami); :')" "2 $a" \
	'a child that went to b, its parent in a'
eq "$(in_repo a/src/deep sh -c 'jq -r .home '"$M/.rrm/whoami")" "$a" 'deep in a'
eq "$(rrm run b -- jq -r '"\(.rule) \(.home)"' "$M/.rrm/whoami")" "1 $b" 'rrm run'
eq "$(rrm run b -- sh -c "cd '$M/a' && jq -r '.home' '$M/.rrm/whoami'")" "$b" 'rrm run, gone to a'
rrm run b -- jq -r .session "$M/.rrm/whoami" | grep -q '^run-' || die 'no session of rrm run'
[ "$(jq .pid "$M/.rrm/whoami")" -gt 0 ] || die 'no pid'
stop_mount
