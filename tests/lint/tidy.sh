#!/bin/sh
# clang-tidy with the checks of .clang-tidy, one file at a time: several at once invent va_list errors.
# usage: tidy.sh [BUILD_DIR] [FILE.c...]; BUILD_DIR (else $RRM_BUILD) holds compile_commands.json.
set -eu
build=${1:-${RRM_BUILD:-}}
[ $# -eq 0 ] || shift
if [ ! -f "$build/compile_commands.json" ]; then
	echo "tidy: '$build' is no meson build directory; usage: tidy.sh BUILD_DIR" >&2
	exit 2
fi
build=$(cd "$build" && pwd -P)
cd "$(dirname "$0")/../.."
root=$(pwd -P)
list=$(mktemp)
trap 'rm -f "$list" "$list.out"' EXIT
if [ $# -gt 0 ]; then
	realpath -- "$@" >"$list"
else
	# What is built, without the subprojects.
	jq -r '.[] | if .file[0:1] == "/" then .file else .directory + "/" + .file end' \
		"$build/compile_commands.json" | xargs -d '\n' realpath -- | sort -u |
		grep -E "^$root/(fs|router|manager|tests)/" >"$list"
fi
# A message goes from its first line to the next message. Two kinds are dropped whole: leaks, which CLEANUP()
# prevents, and paths that start from what the macros of uthash and utlist do.
xargs -d '\n' -P "$(nproc)" -I '{}' sh -c '
	out=$(clang-tidy --quiet -p "$0" --extra-arg=-Wno-unknown-warning-option "$1" 2>&1 | awk "
		function flush() {
			if (text && text !~ /Potential leak of memory|expanded from macro .(HASH|DL|LL)_/)
				printf \"%s\", text
			text = \"\"
		}
		/^[0-9]+ warnings? (generated|treated)|^Suppressed [0-9]+|^Use -header-filter/ { next }
		/: (warning|error): / { flush() }
		{ text = text \$0 \"\\n\" }
		END { flush() }")
	# In one piece, so that files checked at once do not mix their lines.
	[ -z "$out" ] || printf "%s\n" "$out"' "$build" '{}' <"$list" >"$list.out"
if [ -s "$list.out" ]; then
	cat "$list.out"
	exit 1
fi
echo "tidy: $(wc -l <"$list") files"
