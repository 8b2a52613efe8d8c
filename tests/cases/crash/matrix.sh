#!/bin/sh
# kill -9 of the writer, the mount's server, the embedded backend, or all of them, at every step of a foreign write and
# of one at home: matrix.py says what must be true then. RRM_MATRIX=full: every operation at every point (by hand);
# RRM_MATRIX_ONLY: cells by a regular expression.
# needs: stop_points
# timeout: 3600
. "${0%/*}/../lib.sh"
check python3 "$case_dir/matrix.py" "$T" embedded "${RRM_MATRIX_WORKERS-4}" "${RRM_MATRIX-short}" "${RRM_MATRIX_ONLY-}"
# Who was killed while LeakSanitizer looked leaves half a sentence of it, without a summary.
grep -L SUMMARY "$T"/x/asan.* 2>/dev/null | xargs -r rm
