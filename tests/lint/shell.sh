#!/bin/sh
# Our shell scripts pass shellcheck.
set -eu
cd "$(dirname "$0")/../.."
list=$(mktemp)
trap 'rm -f "$list"' EXIT
# Also scripts without .sh: by their first line.
find .ci docs fs router manager tests -type f \( -name '*.sh' -o ! -name '*.*' \) -exec \
	awk 'FNR == 1 && (FILENAME ~ /\.sh$/ || /^#! *\/.*[ \/](da|ba)?sh( |$)/) { print FILENAME } { nextfile }' \
	{} + | sort >"$list"
xargs -d '\n' shellcheck -x <"$list"
echo "shell: $(wc -l <"$list") scripts"
