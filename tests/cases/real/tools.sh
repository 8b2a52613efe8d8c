#!/bin/sh
# Programs that are hard on a file system, at home and in a foreign repository: fio with verification, SQLite's WAL from
# four processes, npm install, make -j4 of a real package, rsync -a --checksum, tar with extended attributes. What they
# leave is compared with what they leave in a plain directory.
# needs: root
# timeout: 900
. "${0%/*}/../lib.sh"
. "$case_dir/lib_places.sh"
start_places

# tree DIR: everything about it but inode numbers and times of directories.
tree() {
	(cd "$1" && find . -type f -printf '%p %y %m %U %G %s %n %T@\n' -o -printf '%p %y %m %U %G %l\n' | LC_ALL=C sort &&
		find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum &&
		getfattr -R -P -h -d -m - . && getfacl -R -p .)
}

fio_verifies() {
	for job in 'psync randwrite 4k' 'mmap randwrite 4k'; do
		# shellcheck disable=SC2086 # three words
		set -- $1 $job
		in_place "$1" "$(dir_of "$1")" fio --name=v --ioengine="$2" --rw="$3" --bs="$4" --size=4m --numjobs=2 \
			--verify=crc32c --verify_fatal=1 --do_verify=1 --fallocate=posix --end_fsync=1 >"$T/x/fio" 2>&1 ||
			die "fio $job ($1): $(tail -n 5 "$T/x/fio")"
		rm "$(dir_of "$1")"/v.*
	done
}

sqlite_wal() {
	sw_dir=$(dir_of "$1")
	in_place "$1" "$sw_dir" sqlite3 db 'PRAGMA journal_mode=WAL; CREATE TABLE t (w INTEGER, n INTEGER);' >/dev/null
	sw_pids=
	for w in 1 2 3 4; do
		# One process a writer, 20 transactions each, which checkpoints as it goes.
		# shellcheck disable=SC2016 # expanded by the inner sh
		in_place "$1" "$sw_dir" sh -c 'seq 20 | sed "s/.*/INSERT INTO t VALUES ($0, &);/" |
			sqlite3 -bail -cmd ".timeout 60000" -cmd "PRAGMA wal_autocheckpoint=4;" db' "$w" >/dev/null &
		sw_pids="$sw_pids $!"
	done
	for p in $sw_pids; do
		check wait "$p"
	done
	eq "$(in_place "$1" "$sw_dir" sqlite3 db 'PRAGMA integrity_check; SELECT count(*), count(DISTINCT w * 100 + n) FROM t;' | tr '\n' ' ')" \
		'ok 80|80 ' "the database ($1)"
	eq "$(sqlite3 "$R/a/$1/db" 'PRAGMA integrity_check;')" ok "the real database ($1)"
	rm -f "$sw_dir"/db*
}

# Packages of our own, as tarballs, and a project that wants them all.
make_packages() {
	mkdir -p "$T/pkg" "$T/project"
	jq -nc '{name: "project", version: "1.0.0", dependencies: {}}' >"$T/project/package.json"
	for i in $(seq 12); do
		mkdir -p "$T/pkg/p$i/lib/deep/er" "$T/pkg/p$i/bin"
		jq -nc --arg n "p$i" '{name: $n, version: "1.0.0", main: "lib/0.js", bin: {($n): "bin/run.js"}}' >"$T/pkg/p$i/package.json"
		printf '#!/usr/bin/env node\nconsole.log(require("../lib/0.js"))\n' >"$T/pkg/p$i/bin/run.js"
		for j in 0 1 2 3 4 5 6 7 8 9; do
			echo "module.exports = $i" | tee "$T/pkg/p$i/lib/$j.js" >"$T/pkg/p$i/lib/deep/er/$j.js"
		done
		(cd "$T/pkg" && npm pack --silent "./p$i" >/dev/null)
		jq -c --arg n "p$i" --arg f "file:$T/pkg/p$i-1.0.0.tgz" '.dependencies[$n] = $f' "$T/project/package.json" >"$T/project/new"
		mv "$T/project/new" "$T/project/package.json"
	done
}

npm_installs() {
	ni_dir=$(dir_of "$1")/npm
	mkdir "$ni_dir"
	cp "$T/project/package.json" "$ni_dir/"
	for verb in install ci; do
		in_place "$1" "$ni_dir" npm "$verb" --offline --no-audit --no-fund >"$T/x/npm" 2>&1 || die "npm $verb ($1): $(tail -n 5 "$T/x/npm")"
	done
	eq "$(in_place "$1" "$ni_dir" node_modules/.bin/p7)" 7 "the installed program ($1)"
	(cd "$ni_dir" && find . ! -name '.package-lock.json' -printf '%p %y %m %s %l\n' | sed 's/ [0-9]* $//' | LC_ALL=C sort) >"$T/x/npm.$1"
	cmp "$T/x/npm.plain" "$T/x/npm.$1" || die "npm left another tree ($1)"
	rm -rf "$ni_dir"
}

package_builds() {
	pb_dir=$(dir_of "$1")/zlib
	cp -a "$RRM_SOURCES/zlib" "$pb_dir"
	for cmd in ./configure 'make -j4' 'make test' 'make -q'; do
		# shellcheck disable=SC2086 # words
		in_place "$1" "$pb_dir" $cmd >"$T/x/make" 2>&1 || die "$cmd ($1): $(tail -n 5 "$T/x/make")"
	done
	rm -rf "$pb_dir"
}

copies_agree() {
	ca_dir=$(dir_of "$1")
	check in_place "$1" "$ca_dir" rsync -aHAX --checksum "$T/tree/" copy/
	ca_again=$(in_place "$1" "$ca_dir" rsync -aHAX --checksum --itemize-changes "$T/tree/" copy/)
	eq "$ca_again" '' "the second rsync ($1)"
	tree "$T/tree" >"$T/x/tree.wanted"
	tree "$ca_dir/copy" >"$T/x/tree.rsync"
	diff "$T/x/tree.wanted" "$T/x/tree.rsync" || die "rsync left another tree ($1)"
	mkdir "$ca_dir/untarred"
	check in_place "$1" "$ca_dir" tar --xattrs --xattrs-include='*' --acls -C "$T/tree" -cf tree.tar .
	check in_place "$1" "$ca_dir" tar --xattrs --xattrs-include='*' --acls -C untarred -xpf tree.tar
	tree "$ca_dir/untarred" >"$T/x/tree.tar"
	diff "$T/x/tree.wanted" "$T/x/tree.tar" || die "tar left another tree ($1)"
	rm -rf "$ca_dir/copy" "$ca_dir/untarred" "$ca_dir/tree.tar"
}

make_tree() {
	cp -a "$RRM_SOURCES/hello" "$T/tree"
	(
		cd "$T/tree"
		ln -s nowhere dangling
		ln configure configure.hard
		mkfifo pipe
		truncate -s 1G sparse
		echo end >>sparse
		setfattr -n user.note -v 'a note' configure
		setfacl -m u:12345:r configure
		setfacl -d -m g:12345:rx src
		chmod 2755 src
		chown 12345:54321 README
	)
	chmod 700 "$T/tree/po"
}

make_packages
make_tree
npm_installs plain
for place in home foreign; do
	fio_verifies "$place"
	sqlite_wal "$place"
	npm_installs "$place"
	package_builds "$place"
	copies_agree "$place"
done
[ -n "$(last_audit a)" ] || die 'nothing was routed'
stop_mount
check rrm log a --verify >/dev/null
