#!/bin/sh
# The lints can fail: each gets a bad file in a copy of the tree, and must say so.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
tmp=$(mktemp -d /tmp/rrm-lint.XXXXXX)
trap 'rm -rf "$tmp"' EXIT
checks=0

# must_fail LINT FILE TEXT: TEXT as FILE makes LINT fail and name the file.
must_fail() {
	rm -rf "$tmp/tree"
	mkdir -p "$tmp/tree/docs" "$tmp/tree/.ci"
	for d in fs router manager tests; do
		mkdir -p "$tmp/tree/$d"
	done
	mkdir -p "$tmp/tree/manager/base" "$tmp/tree/tests/lint"
	cp "$here/$1.sh" "$tmp/tree/tests/lint/"
	cp "$here/cppcheck.cfg" "$tmp/tree/tests/lint/"
	cp "$root/.clang-format" "$tmp/tree/"
	printf '#include <errno.h>\n' >"$tmp/tree/manager/base/good.c"
	if ! sh "$tmp/tree/tests/lint/$1.sh" >"$tmp/out" 2>&1; then
		echo "selftest: $1 fails on a good tree:"
		cat "$tmp/out"
		exit 1
	fi
	printf '%b' "$3" >"$tmp/tree/$2"
	if sh "$tmp/tree/tests/lint/$1.sh" >"$tmp/out" 2>&1; then
		echo "selftest: $1 accepts $2 with: $3"
		exit 1
	fi
	if ! grep -qF "$2" "$tmp/out"; then
		echo "selftest: $1 fails without naming $2:"
		cat "$tmp/out"
		exit 1
	fi
	checks=$((checks + 1))
}

# shellcheck disable=SC1003 # printf %b reads the backslashes
layer() {
	must_fail layering "$1" "#include <errno.h>\n$2\n"
}
layer fs/bad.c '#include "router/turn.h"'
layer fs/bad.c '#include <curl/curl.h>'
layer fs/bad.c '#include <microhttpd.h>'
layer fs/bad.h '#include "overlay.h"'
layer router/bad.c '#include "fs/overlay.h"'
layer router/bad.c '#  include  <fuse_lowlevel.h>'
layer router/bad.c '#include <fuse3/fuse_lowlevel.h>'
layer router/bad.h '#include "../fs/node.h"'
layer router/bad.h '#include "tests/unit/unit.h"'
layer manager/bad.c '#include "router/router.h"'
layer manager/bad.c '#include "fs/node.h"'
layer manager/bad.c '#include <fuse.h>'
layer manager/base/bad.c '#include "manager/repo.h"'
layer manager/base/bad.c '#include <manager/repo.h>'
layer manager/base/bad.h '#include "router/mutation.h"'

must_fail format fs/bad.c 'int  f(void) { return 1; }\n'
must_fail cppcheck fs/bad.c 'int f(int i);\nint f(int i) { int a[2] = {1, 2}; return i == 7 ? a[5] : a[0]; }\n'
must_fail shell docs/bad.sh '#!/bin/sh\nrm -rf $1/x\n'
must_fail shell tests/bad '#!/bin/sh\nrm -rf $1/x\n'

# tidy needs a compile command for its file.
mkdir -p "$tmp/tree/build"
cp "$root/.clang-tidy" "$tmp/tree/"
cp "$here/tidy.sh" "$tmp/tree/tests/lint/"
printf '#include <stdlib.h>\nint f(int *p);\nint f(int *p)\n{\n\tfree(p);\n\treturn *p;\n}\n' >"$tmp/tree/fs/bad.c"
printf '[{"directory": "%s", "file": "../fs/bad.c", "command": "cc -c ../fs/bad.c"}]\n' "$tmp/tree/build" \
	>"$tmp/tree/build/compile_commands.json"
if sh "$tmp/tree/tests/lint/tidy.sh" "$tmp/tree/build" >"$tmp/out" 2>&1 || ! grep -q 'fs/bad.c' "$tmp/out"; then
	echo 'selftest: tidy accepts a use after free'
	cat "$tmp/out"
	exit 1
fi
checks=$((checks + 1))
echo "selftest: $checks bad files found"
