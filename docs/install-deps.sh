#!/bin/sh
# Installs with apt what building rrm needs, only what is missing; with --tests also what tests/run
# needs. Then sees to a libfuse that is new enough: where the distribution's is older than 3.17, the
# upstream release is taken from the source package of Debian's newest suite into
# subprojects/libfuse, from the mirror this machine uses already (apt checks signature and checksum).
# Where that cannot be had, the distribution's libfuse (3.14 or newer) does. Last, ordinary users
# must be able to use /dev/fuse.
#
# sh docs/install-deps.sh [--tests]      as root, or as a user with sudo; nothing to do needs neither
set -eu

libfuse_wanted=3.17
libfuse_least=3.14
src=$(cd "$(dirname "$0")/.." && pwd -P)
tests=no

say() {
	printf '%s\n' "install-deps: $*"
}

die() {
	printf '%s\n' "install-deps: $*" >&2
	exit 1
}

case ${1-} in
'') ;;
--tests) tests=yes ;;
-h | --help)
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 0
	;;
*)
	echo "install-deps: unknown argument $1; usage: install-deps.sh [--tests]" >&2
	exit 2
	;;
esac
command -v apt-get >/dev/null ||
	die 'this machine has no apt-get; Debian 12 or newer or Ubuntu 24.04 or newer is needed'

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "needs root for: $*; run it as root or install sudo"
	fi
}

# Acquire::*: a mirror that does not answer must not hold us for minutes.
apt() {
	as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get -qq -o Acquire::Retries=2 \
		-o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 \
		-o DPkg::Lock::Timeout=300 "$@"
}

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
want_packages() {
	for p; do
		installed "$p" || missing="$missing $p"
	done
}

# COMMAND:PACKAGE, for programs that may have come from elsewhere.
want_commands() {
	for p; do
		command -v "${p%%:*}" >/dev/null || missing="$missing ${p#*:}"
	done
}

# git-less minimal images have neither certificates nor a linker; meson calls them through cc.
want_packages libc6-dev libfuse3-dev fuse3 libcurl4-openssl-dev libcjson-dev uthash-dev \
	libmicrohttpd-dev libssl-dev liburing-dev libncurses-dev libsqlite3-dev ca-certificates
want_commands gcc:gcc meson:meson ninja:ninja-build pkg-config:pkg-config git:git xz:xz-utils
if [ "$tests" = yes ]; then
	want_packages libcmocka-dev dpkg-dev systemd debhelper lintian
	want_commands spin:spin clang:clang clang-format:clang-format clang-tidy:clang-tidy cppcheck:cppcheck \
		shellcheck:shellcheck rg:ripgrep tmux:tmux strace:strace curl:curl jq:jq sqlite3:sqlite3 \
		fio:fio stress-ng:stress-ng setfattr:attr setfacl:acl useradd:passwd unshare:util-linux setpriv:util-linux \
		zsh:zsh fish:fish less:less mandoc:mandoc groff:groff-base col:bsdextrautils chromium:chromium \
		ps:procps ip:iproute2 rsync:rsync node:nodejs npm:npm python3:python3
fi
if [ -n "$missing" ]; then
	say "installing$missing"
	apt update || say 'apt-get update failed; going on with the package lists that are here'
	# shellcheck disable=SC2086 # a list of package names
	apt install --no-install-recommends $missing </dev/null >/dev/null ||
		die "apt-get could not install:$missing"
fi

# --- /dev/fuse -----------------------------------------------------------------------------------

# udev makes it usable for everybody; on a machine without udev nobody did.
if [ -c /dev/fuse ]; then
	case $(stat -c %a /dev/fuse) in
	*6) ;;
	*)
		say 'making /dev/fuse usable for every user (mode 666), as udev does'
		as_root chmod 666 /dev/fuse
		;;
	esac
fi

# fusermount3 cannot unmount without it; systemd and container engines make it.
[ -e /etc/mtab ] || as_root ln -sf ../proc/self/mounts /etc/mtab

# --- libfuse -------------------------------------------------------------------------------------

have=$(pkg-config --modversion fuse3 2>/dev/null || echo 0)
if dpkg --compare-versions "$have" ge "$libfuse_wanted" || [ -f "$src/subprojects/libfuse/meson.build" ]; then
	exit 0
fi

fetch_libfuse() {
	apt-get indextargets 2>/dev/null | grep -q . || apt update
	sh "$src/docs/apt-source.sh" sid "$tmp" fuse3 || return 1
	mkdir "$tmp/libfuse"
	# [a-z]z: not the .asc beside it
	tar -xf "$tmp"/fuse3_*.orig.tar.[a-z]z --no-same-owner --strip-components=1 -C "$tmp/libfuse" || return 1
	[ -f "$tmp/libfuse/meson.build" ] || return 1
	rm -rf "$src/subprojects/libfuse"
	mv "$tmp/libfuse" "$src/subprojects/libfuse"
}

mkdir -p "$src/subprojects"
# Beside its goal: the move at the end is one rename, so there is never half a libfuse.
tmp=$(mktemp -d "$src/subprojects/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
if fetch_libfuse >"$tmp/log" 2>&1; then
	say "libfuse $(sed -n "s/.*version: *'\([0-9.]*\)'.*/\1/p" "$src/subprojects/libfuse/meson.build" | head -1) is in subprojects/libfuse"
elif dpkg --compare-versions "$have" ge "$libfuse_least"; then
	say "building with the distribution's libfuse $have: a newer one could not be fetched (no io_uring)"
else
	die "libfuse $libfuse_least or newer is needed, this distribution has $have"
fi
