#!/bin/sh
# The README to the letter, in a fresh copy of the tree with an empty HOME, as an ordinary user without sudo
# (what apt brings is there): quickstart builds, installs, registers, mounts and shows; twice; then --stop.
# RRM_SRC is the tree, RRM_TEST_USER the user (tests/run); without them this tree and who we are.
# needs: root
# timeout: 900
src=${RRM_SRC-$(cd "${0%/*}/../../.." && pwd -P)}
. "${0%/*}/../lib.sh"
mkdir "$T/clone" "$T/src"
(cd "$src" && tar -cf - --exclude=./build* --exclude=./subprojects/libfuse --exclude=./.git .) | tar -xf - -C "$T/clone"
for r in one two; do
	git_repo "$r"
	mv "$R/$r" "$T/src/"
done
as=
if [ -n "${RRM_TEST_USER-}" ]; then
	chown -R "$RRM_TEST_USER" "$T"
	as="setpriv --reuid=$RRM_TEST_USER --regid=$RRM_TEST_USER --init-groups"
fi
# No program of ours on PATH, no state base but ~/.opencode, and no embedded sudo: a user as any other.
user() {
	# shellcheck disable=SC2086 # a list of words
	(cd / && $as env -u RRM_HOME -u RRM_BIN -u XDG_CONFIG_HOME -u XDG_DATA_HOME -u XDG_STATE_HOME -u XDG_CACHE_HOME \
		PATH=/usr/local/bin:/usr/bin:/bin HOME="$HOME" "$@")
}
quickstart() {
	user sh "$T/clone/docs/quickstart.sh" "$@" >"$T/x/quick" 2>&1 </dev/null ||
		die "quickstart $*: $(tail -n 20 "$T/x/quick")"
}
quickstart
mounted_at "$HOME/rrm" || die 'not mounted'
eq "$(user ls "$HOME/rrm" | tr '\n' ' ')" 'api docs web ' 'the sample repositories'
grep -q 'a note from web' "$T/x/quick" || die "no foreign write shown: $(cat "$T/x/quick")"
sed -n '/rrm log/,/rm /p' "$T/x/quick" | grep 'rrm-quickstart.txt' | grep -qv '\$' ||
	die "no audit record shown: $(cat "$T/x/quick")"
grep -q -- '--stop' "$T/x/quick" || die 'it does not say how to stop'
eq "$(git -C "$HOME/rrm-samples/api" -c safe.directory='*' status --porcelain)" '' 'status of a sample afterwards'
test -x "$HOME/.local/bin/rrm" || die 'not installed in ~/.local'
quickstart "$T/src"
eq "$(user ls "$HOME/rrm" | tr '\n' ' ')" 'api docs one two web ' 'with the repositories below a directory'
# the record of this time's write, not one of the time before
if sed -n '/rrm log/,/rm /p' "$T/x/quick" | grep 'unlink'; then
	die "an old audit record is shown: $(cat "$T/x/quick")"
fi
fails_with 'not a directory' user sh "$T/clone/docs/quickstart.sh" "$T/nowhere"
# A clone in ~ is called rrm, too: told before anything is built.
mkdir -p "$T/x/home"
mv "$T/clone" "$T/x/home/rrm"
chmod 755 "$T/x" "$T/x/home"
if user env HOME="$T/x/home" sh "$T/x/home/rrm/docs/quickstart.sh" >"$T/x/out" 2>&1; then
	die 'mounted over the clone'
fi
grep -q 'not empty: this clone is there; move what is there away' "$T/x/out" || die "it said: $(cat "$T/x/out")"
mv "$T/x/home/rrm" "$T/clone"
quickstart --stop
if mounted_at "$HOME/rrm"; then
	die 'still mounted after --stop'
fi
eq "$(user "$HOME/.local/bin/rrm" status --json | jq -r '.[].state' | sort -u)" stopped 'backends after --stop'
quickstart --stop
