#!/bin/sh
# As matrix.sh, with the real OpenCode as backend: its gateway alone is killed as well, and is started again by its
# parent. Each start of OpenCode takes seconds, so by default a subset: RRM_MATRIX=full, RRM_MATRIX_ONLY.
# needs: opencode stop_points
# timeout: 3600
. "${0%/*}/../lib.sh"
[ -x "${RRM_OPENCODE-}" ] ||
	die "RRM_OPENCODE must name the opencode binary of the pinned npm package; it is '${RRM_OPENCODE-}'"
some='/gateway/|^(request-sent|half-applied|record-pending)/(backend|all)/[a-z]*$|^applied/all/|again-at-half'
check python3 "$case_dir/matrix.py" "$T" opencode "${RRM_MATRIX_WORKERS-4}" "${RRM_MATRIX-short}" "${RRM_MATRIX_ONLY-$some}"
# Who was killed while LeakSanitizer looked leaves half a sentence of it, without a summary.
grep -L SUMMARY "$T"/x/asan.* 2>/dev/null | xargs -r rm
