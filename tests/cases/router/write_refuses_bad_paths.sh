#!/bin/sh
# What rrm write and rrm rm cannot do is one sentence, and changes nothing.
. "${0%/*}/../lib.sh"
make_repo a
mkdir "$T/out"
ln -s "$T/out" "$R/a/leads-out"
fails_with 'registered' rrm write nothing/there
fails_with 'repository itself' rrm write a
fails_with 'repository itself' rrm rm a
fails_with 'a: unlink src' rrm rm a/src
fails_with 'a: unlink none' rrm rm a/none
fails_with 'none/f' rrm write a/none/f
refuse rrm write a/../../escaped </dev/null
refuse rrm write a/leads-out/f </dev/null
eq "$(ls -A "$T/out")" '' 'what a symlink that leads out received'
eq "$(status_of rrm write)" 2 'no argument'
eq "$(status_of rrm write a/x a/y)" 2 'two arguments'
eq "$(status_of rrm rm --force a/x)" 2 'an unknown option'
eq "$(git -C "$R/a" status --porcelain)" '?? leads-out' 'what changed'
check rrm stop --all >/dev/null
