#!/bin/sh
# needs: root
# timeout: 300
# The manual pages have every command, every option and every key of the configuration, and render without a
# warning; the options of each command's parser stand in its --help.
. "${0%/*}/../lib.sh"

man_sh=$RRM_SRC/docs/man/man.sh
mkdir "$T/man"
page() {
	sh "$man_sh" "$@" >"$T/man/$1" || die "$1 could not be made"
	mandoc -T lint -W warning "$T/man/$1" >"$T/x/lint" 2>&1 || die "$1: $(cat "$T/x/lint")"
	groff -ww -mandoc -Tutf8 "$T/man/$1" >"$T/man/$1.txt" 2>"$T/x/lint" || die "groff: $1"
	[ ! -s "$T/x/lint" ] || die "groff on $1: $(cat "$T/x/lint")"
	mandoc -T utf8 "$T/man/$1" | col -b >"$T/man/$1.txt"
}
page rrm.1 "$(command -v rrm)"
page rrm-mount.8 "$(command -v rrm-mount)"
page rrm-backend.8 "$(command -v rrm-backend)"
page rrm.json.5

# has PAGE TEXT
has() {
	tr -s ' \n' ' ' <"$T/man/$1.txt" | grep -qF -e "$2" || die "$1 does not say: $2"
}
rrm --help | sed -n 's/^  \([a-z][a-z-]*\)  *.*/\1/p' >"$T/commands"
while read -r cmd; do
	has rrm.1 "rrm $cmd"
	rrm __complete "$cmd" - | cut -f1 | grep -v -x -e -- -e -h -e --help -e --version | while read -r option; do
		has rrm.1 "$option"
	done
	# the words of the help, all of them
	rrm "$cmd" --help | tail -n +3 | grep -o '[A-Za-z][A-Za-z]\{7,\}' | sort -u | while read -r word; do
		tr -d '\n-' <"$T/man/rrm.1.txt" | tr -d ' ‐' | grep -qF "$word" || die "rrm.1 lacks '$word' of rrm $cmd --help"
	done
done <"$T/commands"
for p in rrm-mount rrm-backend; do
	"$p" --help | grep -oE '(^|[[ ,])--?[a-z]+' | grep -oE -- '--?[a-z]+' | while read -r option; do
		has "$p.8" "$option"
	done
done
sed -n '/fields\[\] = {/,/^};/s/^\t{"\([a-z_]*\)", FIELD.*/\1/p' "$RRM_SRC/manager/config.c" >"$T/keys"
[ "$(wc -l <"$T/keys")" -gt 10 ] || die 'the keys were not found'
while read -r key; do
	grep -q "\\b$key\\b" "$T/man/rrm.json.5.txt" || die "rrm.json.5 (docs/FORMATS.md) lacks $key"
done <"$T/keys"
# and no key that is none
grep -o '^ \{5,6\}[a-z]\+\(_[a-z]\+\)\+\b' "$T/man/rrm.json.5.txt" | while read -r key; do
	grep -qx "$key" "$T/keys" || die "rrm.json.5 has $key, which the configuration does not know"
done

# every long option that a parser takes stands in the help of its command
for f in "$RRM_SRC"/manager/cmd_*.c "$RRM_SRC"/router/cmd_*.c; do
	cmds=$(sed -n 's/^int cmd_\([a-z]*\)(int argc.*/\1/p' "$f")
	sed -n '/struct option longs\[\]/,/};/p' "$f" | grep -o '{"[a-z-]*"' | tr -d '{"' | while read -r option; do
		for cmd in $cmds; do
			rrm "$cmd" --help | grep -q -e "--$option\\b" && continue 2
		done
		die "$f takes --$option, which no --help of its commands has"
	done
done
