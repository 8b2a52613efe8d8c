#!/bin/sh
# A C program that is built with pkg-config starts a backend through librrm and is not its parent.
. "${0%/*}/../lib.sh"
bin=$(dirname "$(command -v rrm)")
pc=$(find "$bin/../lib" "$bin/../lib64" -name rrm.pc 2>/dev/null | head -n 1)
if [ -z "$pc" ]; then
	say "skipped: rrm is not installed beside $bin (no rrm.pc)"
	exit 77
fi
cat >"$T/x/p.c" <<'END'
#include <rrm.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	struct rrm_endpoint ep;
	char error[512];
	(void)argc;
	if (rrm_ensure_running(argv[1], &ep, error, sizeof(error)) != 0)
		return fprintf(stderr, "%s\n", error), 1;
	printf("%s %d\n", ep.url, ep.pid);
	return 0;
}
END
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
LD_LIBRARY_PATH=$(pkg-config --variable=libdir rrm)
export LD_LIBRARY_PATH
# A library with a sanitizer wants a program with the same one.
sanitize=
case $(nm -D "$LD_LIBRARY_PATH/librrm.so") in
*__asan_*) sanitize=-fsanitize=address,undefined ;;
*__tsan_*) sanitize=-fsanitize=thread ;;
esac
# shellcheck disable=SC2046 # a list of options
check cc $sanitize -o "$T/x/p" "$T/x/p.c" $(pkg-config --cflags --libs rrm)
write_config '{"backend":"embedded"}'
make_repo a
fails_with 'nosuch' "$T/x/p" nosuch
check "$T/x/p" "$R/a/src" >"$T/x/got"
eq "$(cat "$T/x/got")" "$(rrm ensure --json a | jq -r '"\(.url) \(.pid)"')" 'the endpoint'
