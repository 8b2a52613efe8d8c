#!/bin/sh
# What cannot be registered is refused with a sentence that says why, and nothing is registered.
. "${0%/*}/../lib.sh"

mkdir -p "$R/plain" "$R/bare.git/objects" "$T/h/rrm/inside/.git" "$S/repos/own/.git"
: >"$R/file"
: >"$R/bare.git/HEAD"
git_repo web
long=$(printf 'n%.0s' $(seq 300))

fails_with 'not a git repository' rrm add "$R/plain"
fails_with 'does not exist' rrm add "$R/none"
fails_with 'not a directory' rrm add "$R/file"
fails_with 'bare git repository' rrm add "$R/bare.git"
fails_with 'an empty path' rrm add ''
fails_with 'holds a slash' rrm add --name a/b "$R/web"
fails_with 'is there already' rrm add --name .. "$R/web"
fails_with 'control byte' rrm add --name 'a
b' "$R/web"
fails_with '255 bytes' rrm add --name "$long" "$R/web"
fails_with 'control directory' rrm add --name .rrm "$R/web"
fails_with 'is empty' rrm add --name '' "$R/web"
fails_with 'state directory' rrm add "$S/repos/own"
fails_with 'mount' rrm add "$HOME/rrm/inside"
git init -q "$HOME"
fails_with 'holds the mountpoint' rrm add "$HOME"
rm -r "$HOME/.git"
eq "$(rrm list)" '' 'what is registered'
eq "$(status_of rrm add)" 2 'status without PATH'
eq "$(status_of rrm add --nmae x "$R/web")" 2 'status with an unknown option'
eq "$(cat "$T/x/err")" 'rrm: unknown option --nmae; did you mean --name? See rrm add --help' 'the sentence'

# --force takes a plain directory; one bad path of several does not keep the good ones out
check rrm add --force "$R/plain" >"$T/x/added"
eq "$(status_of rrm add "$R/none" "$R/web")" 1 'status with one bad path'
eq "$(rrm list --json | jq -r '[.[].name] | join(" ")')" 'plain web' 'what is registered at the end'
