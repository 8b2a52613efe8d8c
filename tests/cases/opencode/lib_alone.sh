# The real OpenCode in a network of its own, with nothing but loopback: whoever waits for a registry shows. Sourced first, in
# place of lib.sh.
# shellcheck shell=sh
if [ "${1-}" != inside ]; then
	exec unshare -n sh "$0" inside
fi
ip link set lo up
. "${0%/*}/../lib.sh"
[ -x "${RRM_OPENCODE-}" ] ||
	die "RRM_OPENCODE must name the opencode binary of the pinned npm package; it is '${RRM_OPENCODE-}'"
