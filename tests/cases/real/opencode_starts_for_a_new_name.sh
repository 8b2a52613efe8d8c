#!/bin/sh
# A foreign mkdir is what starts the owner's OpenCode. The kernel holds the lock of the directory in which the
# name is made until mkdir returns: the backend, which needs that directory to start, must not wait for it.
# needs: opencode
# timeout: 180
. "${0%/*}/../lib.sh"
check test -x "${RRM_OPENCODE-}"
write_config "{\"backend\": \"opencode\", \"opencode_command\": \"$RRM_OPENCODE\"}"
make_repo a
make_repo b
start_mount
check in_repo a mkdir ../b/newdir
check test -d "$R/b/newdir"
eq "$(rrm ensure b --json | jq -r '"\(.backend) \(.state)"')" 'opencode ready' 'the backend'
check in_repo a sh -c 'echo x >../b/newdir/f && rm ../b/README.md'
eq "$(cat "$R/b/newdir/f")" x 'a file in it'
check rrm stop --all >/dev/null
eq "$(audit_writes b 'select(.result == "ok") | "\(.op) \(.path)"' | tr '\n' ' ')" \
	'mkdir newdir create newdir/f unlink README.md ' 'the records'
stop_mount
