#!/bin/sh
# A state base that cannot be used is an error that names it.
. "${0%/*}/../lib.sh"

git_repo web
: >"$T/file"
fails_with "$T/file" env RRM_HOME="$T/file" rrm add "$R/web"
fails_with "$T/file/x" env RRM_HOME="$T/file/x" rrm add "$R/web"
if [ "$(id -u)" != 0 ]; then
	mkdir -m 0500 "$T/closed"
	fails_with 'Permission denied' env RRM_HOME="$T/closed/s" rrm add "$R/web"
fi
# a lock that somebody holds is waited for, not for ever
check rrm list >/dev/null
mkdir -p "$S"
exec 9>"$S/repos.lock"
flock 9
start=$(date +%s)
fails_with 'another rrm' rrm add "$R/web"
[ $(($(date +%s) - start)) -lt 30 ] || die 'it waited too long'
exec 9>&-
check rrm add "$R/web" >/dev/null
