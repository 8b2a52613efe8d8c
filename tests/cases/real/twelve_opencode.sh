#!/bin/sh
# The same with the real OpenCode as backend of four of the repositories, one of them killed -9 in the
# middle. RRM_OPENCODE is its binary.
# needs: opencode
# timeout: 600
. "${0%/*}/../lib.sh"
. "$case_dir/lib_twelve.sh"
check test -x "${RRM_OPENCODE-}"
write_config "{\"backend\": \"opencode\", \"opencode_command\": \"$RRM_OPENCODE\", \"start_timeout_ms\": 120000, \"lock_timeout_ms\": 120000}"
all='hello dash ed tree'
for n in $all; do
	real_repo "$n"
done
KILL='ed'
start_mount
all_write "$all"
eq "$(wc -l <"$T/x/killed")" 1 'backends killed'
stop_mount
