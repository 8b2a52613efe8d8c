# Many threads and processes write and read in the mount while the real files are changed outside: nobody
# ever reads anything older than what was written, and every change from outside is seen.
# timeout: 180
# shellcheck shell=sh
. "${0%/*}/../lib.sh"

make_repo a
mkdir "$R/a/stress"
start_mount
in_repo a rrm-coherence "$M/a/stress" "$R/a/stress" "${RRM_STRESS_SECONDS-8}" || die 'something stale was read'
stop_mount
