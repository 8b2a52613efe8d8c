#!/bin/sh
# A system call fails in the gateway, or in the mount's server (strace injects EIO, ENOSPC, EDQUOT, EROFS, EMFILE, ...):
# inject.py says what must be true then.
# needs: root
# timeout: 300
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
check python3 "$case_dir/inject.py" "$M" "$R" "$(state_dir b)" "$(server_pid)"
check rrm log b --verify >/dev/null
stop_mount
