# Many real repositories, each with a writer that writes into all the others at once and a reader that
# reads them all: what twelve.sh and twelve_opencode.sh share. Sourced after lib.sh.
# RRM_SOURCES: a directory with unpacked source trees of Debian packages, by package name (tests/run).
# shellcheck shell=sh

# real_repo NAME: the source tree of the package NAME, committed, registered.
real_repo() {
	[ -d "${RRM_SOURCES-}/$1" ] || die "no source tree of $1 in RRM_SOURCES=${RRM_SOURCES-}; tests/run brings them"
	cp -r "$RRM_SOURCES/$1" "$R/$1"
	git init -q -b main "$R/$1"
	# what the package's own .gitignore hides must not hide what the writers make
	rm -f "$R/$1/.gitignore"
	git -C "$R/$1" add -A -f
	git -C "$R/$1" commit -qm "$1"
	check rrm add "$R/$1" >/dev/null
}

# checksums DIR: of every regular file that is committed there.
checksums() {
	(cd "$1" && git ls-files -sz | sed -zn 's/^100[0-9]* [0-9a-f]* 0\t//p' | xargs -0 sha256sum)
}

# kill_backend NAME: kill -9 once writes are landing there.
kill_backend() {
	wait_until "[ \"\$(find '$R/$1' -path '*/from-*/*' | wc -l)\" -ge 4 ]" 120
	kb=$(jq -r '.pid' "$(state_dir "$1")/registry.json")
	kill -9 "$kb"
	echo "$1: killed backend $kb" >>"$T/x/killed"
}

# paths_of NAME: what the audit says was made there and is still there, sorted.
paths_of() {
	audit "$1" 'select(.result == "ok") | select(.op != "mkdir") | if .op == "rename" then "-" + .path, "+" + .path2 else "+" + .path end' |
		awk '{ p = substr($0, 2); if (/^-/) delete here[p]; else here[p] = 1 } END { for (p in here) print p }' |
		sort
}

# all_write "WRITERS": starts one writer and one reader in each of them; all of $all are written to. Then
# checks everything. KILL: the repositories whose backend is killed in the middle.
all_write() {
	for aw in $all; do
		checksums "$R/$aw" >"$T/x/sums-$aw"
	done
	eq "$(rrm status --json | jq -r '.[].state' | sort -u)" stopped 'states before the first write'
	pids=
	for aw in $1; do
		in_repo "$aw" perl "$case_dir/writer.pl" "$M" "$aw" "$all" &
		pids="$pids $!"
	done
	readers=
	for aw in $1; do
		in_repo "$aw" sh "$case_dir/lib_reader.sh" "$M" "$T/x/sums-" "$T/stop" "$T/x/rounds-$aw" "$all" &
		readers="$readers $!"
	done
	for aw in $KILL; do
		kill_backend "$aw"
	done
	for aw in $pids; do
		wait "$aw" || die "a writer failed"
	done
	: >"$T/stop"
	for aw in $readers; do
		wait "$aw" || die "a reader failed"
	done
	# One that was killed when all had written to it is brought back by the mount, which takes a moment.
	wait_until '[ "$(rrm status --json | jq -r ".[].state" | sort -u)" = ready ]' 120
	check rrm stop --all >/dev/null
	verify_all "$1"
}

# verify_all "WRITERS"
verify_all() {
	for va in $all; do
		audit "$va" 'select(.result == "ok") | [.actor.home, .op, .path, .path2, (.bytes // 0)] | @tsv' >"$T/x/audit-$va"
		check rrm log "$va" --verify >/dev/null
		(cd "$R/$va" && sha256sum --quiet --check "$T/x/sums-$va") || die "committed files of $va changed"
		# nothing is there but what the audit names
		git -C "$R/$va" -c core.quotePath=off status --porcelain -uall --ignore-submodules=all |
			sed 's/^?? //' | sort >"$T/x/status-$va"
		paths_of "$va" >"$T/x/paths-$va"
		check diff "$T/x/status-$va" "$T/x/paths-$va"
		for w in $1; do
			[ "$w" != "$va" ] || continue
			perl "$case_dir/writer.pl" --check "$R/$va" "$w" "$va" "$(repo_id "$w")" "$T/x/audit-$va" ||
				die "what $w wrote into $va"
		done
		eq "$(grep -c . "$R/$va/SHARED")" "$(echo "$1" | wc -w | awk -v n="$(in_list "$va" "$1")" '{ print $1 - n }')" \
			"lines of $va/SHARED"
	done
}

# in_list WORD "LIST": 1 or 0
in_list() {
	case " $2 " in
	*" $1 "*) echo 1 ;;
	*) echo 0 ;;
	esac
}
