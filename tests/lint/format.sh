#!/bin/sh
# Every .c and .h is as clang-format with our .clang-format writes it.
set -eu
cd "$(dirname "$0")/../.."
list=$(mktemp)
trap 'rm -f "$list"' EXIT
find fs router manager tests -name '*.[ch]' | LC_ALL=C sort >"$list"
if xargs -d '\n' clang-format --dry-run -Werror -ferror-limit=0 <"$list" >"$list.out" 2>&1; then
	rm -f "$list.out"
	echo "format: $(wc -l <"$list") files"
	exit 0
fi
if grep -q violations "$list.out"; then
	sed -n 's/^\([^ :]*\.[ch]\):[0-9].*violations.*/clang-format -i \1/p' "$list.out" | sort -u
else
	cat "$list.out" # the tool itself failed
fi
rm -f "$list.out"
exit 1
