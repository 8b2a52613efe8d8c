#!/bin/sh
# Downloads Debian or Ubuntu source packages from the archive that this machine takes its packages from.
# apt checks signatures and checksums; it keeps its state in a temporary directory, so the machine's own
# lists and sources stay as they are, and root is not needed.
#
# sh docs/apt-source.sh SUITE DIR PACKAGE...     SUITE: sid, ..., or "own" for the suite of this machine
set -eu
[ $# -ge 3 ] || {
	echo 'usage: apt-source.sh SUITE DIR PACKAGE...' >&2
	exit 2
}
suite=$1
dir=$(mkdir -p "$2" && cd "$2" && pwd -P)
shift 2

die() {
	printf '%s\n' "apt-source: $*" >&2
	exit 1
}

. /etc/os-release
[ "$suite" != own ] || suite=${VERSION_CODENAME-sid}
case $ID in
debian) origin=Debian components=main ;;
ubuntu) origin=Ubuntu components='main universe' ;;
*) die "this is $PRETTY_NAME, neither Debian nor Ubuntu" ;;
esac
for keyring in "/usr/share/keyrings/$ID-archive-keyring.gpg" "/usr/share/keyrings/$ID-archive-keyring.pgp" ''; do
	[ ! -f "$keyring" ] || break
done
[ -n "$keyring" ] || die "no key of the archive in /usr/share/keyrings: install $ID-archive-keyring"
# The archive's address, from apt's own list of what it knows; not that of security updates.
archives=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 2>/dev/null |
	awk -v o="$origin" '$1 == o && $2 !~ /-security$/ { print $3 }' | sort -u)
[ -n "$archives" ] || die 'apt knows no package lists yet: run apt-get update'

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial"

# Acquire::*: a mirror that does not answer must not hold us for minutes.
apt() {
	apt-get -qq -o "Dir::Etc::SourceList=$tmp/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o "Dir::State::Lists=$tmp/lists" -o "Dir::Cache=$tmp/cache" -o APT::Sandbox::User=root \
		-o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"
}

for archive in $archives; do
	echo "deb-src [signed-by=$keyring] $archive $suite $components" >"$tmp/sources.list"
	if apt update && (cd "$dir" && apt source --download-only "$@"); then
		exit 0
	fi
done
die "could not download from $suite: $*"
