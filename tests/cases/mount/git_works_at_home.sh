#!/bin/sh
# git at home: status, log, diff, add, commit, checkout, branch, stash; the real repository follows.
. "${0%/*}/../lib.sh"
make_repo a
start_mount

eq "$(in_repo a git status --porcelain)" '' 'git status of a clean tree'
eq "$(in_repo a git log --format=%s)" 'start of a' 'git log'
check in_repo a sh -c 'echo more >>README.md && mkdir lib && echo x >lib/x.c'
eq "$(in_repo a git status --porcelain)" ' M README.md
?? lib/' 'git status after a change'
in_repo a git diff | grep -qx '+more' || die 'git diff does not show the change'
check in_repo a git add -A
check in_repo a git commit -qm second
eq "$(git -C "$R/a" log --format=%s)" 'second
start of a' 'log of the real repository'
eq "$(git -C "$R/a" status --porcelain)" '' 'status of the real repository'
check in_repo a git checkout -q -b side HEAD~1
refuse test -e "$R/a/lib/x.c"
check in_repo a sh -c 'echo other >README.md && git stash -q && git stash pop -q && git checkout -q README.md'
check in_repo a git checkout -q main
check in_repo a git merge -q side
check in_repo a git gc -q
check in_repo a git fsck --strict --no-dangling
eq "$(git -C "$R/a" fsck --strict --no-dangling 2>&1)" '' 'fsck of the real repository'
eq "$(audit_count a)" 0 'records of foreign writes'
stop_mount
