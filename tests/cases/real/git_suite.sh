#!/bin/sh
# Git's own tests, from its source package, with their directories at home and in a foreign repository. RRM_GIT_TESTS
# names others than these (t*.sh without .sh, or "all" for a longer list).
# needs: root
# timeout: 1500
. "${0%/*}/../lib.sh"
. "$case_dir/lib_places.sh"
some='t0001-init t1400-update-ref t2007-checkout-symlink t2401-worktree-prune t3600-rm t4114-apply-typechange
t5304-prune t7001-mv t7201-co t7300-clean t7700-repack'
all="$some t0000-basic t0008-ignores t0020-crlf t1006-cat-file t1050-large t1300-config t1410-reflog t1450-fsck
t2000-conflict-when-checking-files-out t2004-checkout-cache-temp t2018-checkout-branch t2060-switch t2200-add-update
t2400-worktree-add t2402-worktree-list t2403-worktree-move t3000-ls-files-others t3001-ls-files-others-exclude
t3200-branch t3404-rebase-interactive t3700-add t3903-stash t4001-diff-rename t4122-apply-symlink-inside
t5300-pack-object t5310-pack-bitmaps t5500-fetch-pack t5510-fetch t5516-fetch-push t5601-clone t5604-clone-reference
t6500-gc t7063-status-untracked-cache t7400-submodule-basic t7406-submodule-update t7501-commit-basic-functionality
t7508-status t7512-status-help t7600-merge t9300-fast-import"
case ${RRM_GIT_TESTS-} in
'') ;;
all) some=$all ;;
*) some=$RRM_GIT_TESTS ;;
esac

# Git and its test helpers, built once.
src=$RRM_SOURCES/git
if [ ! -x "$src/t/helper/test-tool" ]; then
	make -C "$src" -j"$(nproc)" CFLAGS='-O1 -w' NO_OPENSSL=1 NO_CURL=1 NO_EXPAT=1 NO_GETTEXT=1 NO_PERL=1 NO_PYTHON=1 \
		NO_TCLTK=1 all >"$T/x/make" 2>&1 || die "building git: $(tail -n 5 "$T/x/make")"
fi
start_places
for place in home foreign; do
	for t in $some; do
		st=0
		# In the test's own words, what it tests; it goes from its source to its directory in the mount.
		in_place "$place" "$src/t" env -u GIT_AUTHOR_NAME -u GIT_COMMITTER_NAME sh "./$t.sh" --root="$(dir_of "$place")/$t" \
			>"$T/x/git" 2>&1 || st=$?
		[ "$st" = 0 ] || die "$t ($place): $(grep -v '^ok' "$T/x/git" | tail -n 20)"
		[ "$(grep -c '^ok' "$T/x/git")" -gt 0 ] || die "$t tested nothing: $(tail -n 3 "$T/x/git")"
		rm -rf "${R:?}/a/$place/$t"
	done
done
stop_mount
check rrm log a --verify >/dev/null
