#!/bin/sh
# rename and link from one repository to another give EXDEV, and mv copies.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
fails_with 'cross-device' in_repo a perl -e 'rename("README.md", "../b/x") or die lc $!'
fails_with 'cross-device' in_repo a perl -e 'link("README.md", "../b/x") or die lc $!'
refuse test -e "$R/b/x"
check in_repo a mv README.md ../b/from_a
eq "$(cat "$R/b/from_a")" '# a' 'the moved file'
refuse test -e "$R/a/README.md"
check in_repo a mv src ../b/src_of_a
eq "$(cat "$R/b/src_of_a/deep/numbers.txt")" "$(seq 1 2000)" 'a moved tree'
refuse test -e "$R/a/src"
[ "$(audit_count b '.result == "ok"')" -ge 4 ] || die 'the copies are not in the audit'
stop_mount
