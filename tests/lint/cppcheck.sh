#!/bin/sh
# Nothing for cppcheck to find; what it gets wrong is suppressed beside the line, with the reason.
# Leaks are left to LeakSanitizer: cppcheck 2.10 does not know the cleanup attribute.
set -eu
cd "$(dirname "$0")/../.."
n=$(find fs router manager tests -name '*.c' | wc -l)
cppcheck --quiet -j "$(nproc)" --std=c11 --enable=warning,performance,portability --error-exitcode=1 \
	--inline-suppr --suppress=missingInclude --suppress=missingIncludeSystem --suppress=unmatchedSuppression \
	--suppress=memleak --suppress=resourceLeak \
	--template='{file}:{line}: {severity}: {message} [{id}]' \
	--library=tests/lint/cppcheck.cfg -I . -D_GNU_SOURCE -DRRM_VERSION='"0"' fs router manager tests
echo "cppcheck: $n files"
