#!/bin/sh
# not: distro
# Random operations of all kinds, by several processes, answer the same in a plain directory, at home in the
# mount and in a foreign repo of it, and leave the same trees; as root also by processes of several users.
# RRM_FUZZ_SECONDS: how long (one seed after another); RRM_FUZZ_SEED: from which seed on (the default is always the same, so
# that what is tested does not change by itself; by hand: RRM_FUZZ_SEED=$(date +%s)). What a failure
# prints says how to see it again: RRM_FUZZ_ARGS="-s 12 -l 3,17,20" runs just that.
# timeout: 1200
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
seconds=${RRM_FUZZ_SECONDS-14}
seed=${RRM_FUZZ_SEED-1795422598}
case $(rrm-mount --version) in
*'libfuse 3.1'[0-6]*) export NO_TMPFILE=1 ;;
esac

# fuzz OPTIONS...
w=w
fuzz() {
	mkdir -p "$T/plain/$w" "$R/a/$w" "$R/b/$w"
	# By a child: who goes to another repo himself is at home there.
	in_repo a rrm-fuzzops "$@" "$T/plain/$w" "$M/a/$w" "$M/b/$w" "$R/a/$w" "$R/b/$w" >"$T/x/fuzz" 2>&1 ||
		die "$(cat "$T/x/fuzz")"
	say "$(cat "$T/x/fuzz")"
}
everybody=
[ "$(id -u)" != 0 ] || everybody='-o allow_other'
# shellcheck disable=SC2086 # words
start_mount $everybody
if [ -n "${RRM_FUZZ_ARGS-}" ]; then
	# shellcheck disable=SC2086 # words
	fuzz $RRM_FUZZ_ARGS
else
	fuzz -s "$seed" -n 3000 -t 0
	fuzz -s "$((seed + 1))" -n 300 -t "$seconds"
fi
if [ "$(id -u)" = 0 ] && [ -z "${RRM_FUZZ_ARGS-}" ]; then
	chmod 755 "$T" "$R" "$R/a" "$R/b" "$T/plain"
	# new ones: the last sequence may have left an ACL that shuts somebody out; of a new name, which the kernel does not
	# know, for what is made outside is told when inotify tells it
	w=users
	mkdir -m 777 "$R/a/$w" "$R/b/$w" "$T/plain/$w"
	fuzz -u -s "$seed" -n 300 -t "$((seconds / 2))"
fi
stop_mount
check rrm stop b
check rrm log --verify b >/dev/null
