#!/bin/sh
# The state directory's disk has no room for the copy of what a foreign write replaces: the oldest copies make room; where
# that is not enough the write is done, and its record says that nothing was kept. With room again all is kept.
# needs: root
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
cp -r "$S" "$T/s.keep"
rm -rf "$S"
mkdir "$S"
mount -t tmpfs -o size=8m,mode=700 rrm-test "$S"
cp -r "$T/s.keep/." "$S"
start_mount
# change FILE BYTES: from that many old bytes to a few new ones
change() {
	head -c "$2" /dev/urandom >"$R/b/$1"
	check in_repo a sh -c "echo new >../b/$1"
	eq "$(cat "$R/b/$1")" new "$1"
}
# kept FILE: the copy that is kept of it, or why there is none. The first record of a turn says it; a slow machine
# makes more of them.
kept() {
	rrm log b >/dev/null # what is still to be recorded
	last_audit b "select(.path == \"$1\") | .undo.kept // .undo.why // empty"
}
change first 1000
change old1 1500000
change old2 1500000
[ -n "$(kept old1)" ] || die 'nothing was kept while there was room'
change new 3500000
check rrm stop b >/dev/null
[ -s "$(state_dir b)/$(kept new)" ] || die "no copy of the newest: $(kept new); $(df "$S")"
refuse test -e "$(state_dir b)/$(kept first)"
# Somebody else fills the disk: there is nothing left to make room with.
check rrm ensure b >/dev/null
rm -rf "$(state_dir b)"/undo/*
head -c 8000000 /dev/zero >"$S/filler" 2>/dev/null || true
truncate -s -1500000 "$S/filler"
change full 3500000
rm "$S/filler"
change after 100000
check rrm stop b >/dev/null
eq "$(kept full)" 'it could not be kept: ENOSPC' 'what the record of the full disk says'
[ -s "$(state_dir b)/$(kept after)" ] || die "no copy with room again: $(kept after)"
check rrm log b --verify >/dev/null
stop_mount
umount "$S"
