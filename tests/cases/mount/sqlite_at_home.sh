#!/bin/sh
# SQLite in WAL mode at home: four processes write into one database through the mount; nothing is lost.
. "${0%/*}/../lib.sh"
make_repo a
start_mount
in_repo a sqlite3 db 'PRAGMA journal_mode=WAL; CREATE TABLE t (w INTEGER, n INTEGER);' >/dev/null
for w in 1 2 3 4; do
	(
		for n in $(seq 25); do
			in_repo a sqlite3 -cmd '.timeout 60000' db "INSERT INTO t VALUES ($w, $n);" || exit 1
		done
	) &
	pids="${pids-} $!"
done
for p in $pids; do
	check wait "$p"
done
eq "$(in_repo a sqlite3 db 'PRAGMA integrity_check;')" ok 'integrity in the mount'
eq "$(in_repo a sqlite3 db 'SELECT count(*), count(DISTINCT w * 100 + n) FROM t;')" '100|100' 'rows'
stop_mount
eq "$(sqlite3 "$R/a/db" 'PRAGMA integrity_check; SELECT count(*) FROM t;')" 'ok
100' 'the real database'
