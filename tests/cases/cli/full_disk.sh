#!/bin/sh
# needs: root
# A full disk under the state directory gives a sentence, and leaves what was there.
. "${0%/*}/../lib.sh"

mkdir "$S"
mount -t tmpfs -o size=256k,nr_inodes=2k tmpfs "$S"
make_repo web
git_repo api
dd if=/dev/zero of="$S/fill" bs=4k 2>/dev/null || true
fails_with 'No space left on device' rrm add "$R/api"
eq "$(rrm list --json | jq -r '[.[].name] | join(" ")')" web 'what is registered'
fails_with 'No space left on device' rrm run web -- true
rm "$S/fill"
check rrm add "$R/api" >/dev/null
check rrm run web -- true
find "$S" -name '.rrm-tmp-*' | grep . && die 'temporary files were left'
umount "$S"
