#!/bin/sh
# More files than descriptors: made, read, listed and removed at home and foreign, with 256 open files allowed.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
mkdir "$R/a/made" "$R/b/made" "$R/a/tree"
rrm-workload tree "$R/a/tree" 2000
# shellcheck disable=SC3045 # dash and bash have it
ulimit -n 256
start_mount
check in_repo a rrm-workload read tree 2000 4 >/dev/null
check in_repo a sh -c 'find . -ls >/dev/null'
check in_repo a rrm-workload create made 600 100 >/dev/null
check in_repo a rrm-workload create ../b/made 600 100 >/dev/null
eq "$(find "$R/a/made" "$R/b/made" -type f -size 100c | wc -l)" 1200 'files that were made'
check in_repo a sh -c 'cat made/* ../b/made/* tree/d1/* >/dev/null'
check in_repo a rrm-workload remove made 600 >/dev/null
check in_repo a rrm-workload remove ../b/made 600 >/dev/null
eq "$(find "$R/a/made" "$R/b/made" -type f | wc -l)" 0 'files that are left'
stop_mount
