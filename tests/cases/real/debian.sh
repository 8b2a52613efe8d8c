#!/bin/sh
# The Debian packages: built by dpkg-buildpackage from what git has, clean to lintian, installed below another root with
# dpkg: postinst offers what only root can do, programs, plugin and library find each other there, and removing them
# leaves a user's state alone.
# needs: root
# timeout: 600
. "${0%/*}/../lib.sh"
src=${RRM_SRC:?names the source tree}
unset ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
mkdir -p "$T/build/rrm" "$T/root/var/lib/dpkg"
(cd "$src" && git -c safe.directory='*' ls-files -z | tar --null -T - -cf - | tar -xf - -C "$T/build/rrm")
cd "$T/build/rrm"
eq "$(dpkg-parsechangelog -S Version)" "$(sed -n "s/.*version: '\([0-9.]*\)', license.*/\1/p" meson.build)" 'version of the package'
check env CCACHE_DISABLE=1 DEB_BUILD_OPTIONS="parallel=$(nproc)" dpkg-buildpackage -b -us -uc >"$T/x/build" 2>&1 || { tail -n 30 "$T/x/build" >&2; exit 1; }
cd "$T/build"
lintian --allow-root --fail-on error,warning ./rrm_*.changes >"$T/x/lintian" 2>&1 || die "lintian: $(cat "$T/x/lintian")"

# Below a root of its own: what is there is this machine's, but for /usr/bin/rrm* and dpkg's own records.
: >"$T/root/var/lib/dpkg/status"
dpkg_below() {
	dpkg --root="$T/root" --force-depends --force-script-chrootless "$@" >"$T/x/dpkg" 2>&1 || die "dpkg $*: $(cat "$T/x/dpkg")"
}
dpkg_below -i rrm_*.deb librrm0_*.deb librrm-dev_*.deb
grep -q 'rrm harden' "$T/x/dpkg" || die "postinst offers nothing: $(cat "$T/x/dpkg")"
grep -q setcap "$T/x/dpkg" || die 'nothing about a capability'
[ ! -e /etc/sysctl.d/60-rrm.conf ] || die 'the limits were set unasked'
PATH=$T/root/usr/bin:$PATH
eq "$(command -v rrm)" "$T/root/usr/bin/rrm" 'the rrm that is found'
unit=$(find "$T/root" -name rrm-mount.service)
grep -qx 'ExecStart=/usr/bin/rrm-mount -f' "$unit" || die "the unit says $(grep ExecStart "$unit")"
[ -n "$(find "$T/root" -name rrm-mount@.service)" ] || die 'no unit for users without a session'
write_config '{"backend":"embedded"}'
make_repo a
start_mount
echo hello >"$M/a/foreign"
eq "$(cat "$R/a/foreign")" hello 'a write through the installed programs'
stop_mount
check rrm stop --all >/dev/null
[ -f "$T/root/usr/share/rrm/rrm.js" ] || die 'the plugin is not installed'
cat >"$T/x/user.c" <<'END'
#include <rrm.h>
int main(void) { return sizeof(struct rrm_endpoint) == 0; }
END
check cc -I"$T/root/usr/include" -o "$T/x/user" "$T/x/user.c" -L"$(dirname "$(find "$T/root" -name librrm.so)")" -lrrm
(cd "$S" && find . -type f | sort) >"$T/x/before"
dpkg_below -P rrm librrm-dev librrm0
[ ! -e "$T/root/usr/bin/rrm" ] || die 'rrm is still there'
(cd "$S" && find . -type f | sort) | cmp - "$T/x/before" || die 'state of the user went with the package'
