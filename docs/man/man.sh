#!/bin/sh
# Prints a manual page (mdoc), made from what the programs and docs/FORMATS.md say about themselves, so that it
# cannot differ from them:
#
#	man.sh rrm.1 RRM              one section a command, from the table of commands
#	man.sh rrm-mount.8 RRM-MOUNT  from its --help; likewise rrm-backend.8
#	man.sh rrm.json.5             the keys of the configuration, from the table in docs/FORMATS.md
set -eu
dir=$(cd "$(dirname "$0")" && pwd -P)
page=$1
program=${2-}

# Programs with sanitizers run without address space randomisation, as in tests/run.
run() {
	if setarch "$(uname -m)" -R true 2>/dev/null; then
		setarch "$(uname -m)" -R "$program" "$@"
	else
		"$program" "$@"
	fi
}

# help_of WORDS...: the whole --help, kept in $text.
help_of() {
	text=$(run "$@")
}

as_mdoc() {
	printf '%s\n' "$text" | awk -f "$dir/man.awk" "$@"
}

# header TITLE SECTION NAME DESCRIPTION
header() {
	printf '.Dd November 22, 2026\n.Dt %s %s\n.Os rrm\n.Sh NAME\n.Nm %s\n.Nd %s\n' "$@"
}

usage() {
	echo '.Bl -item -compact'
	as_mdoc -v usage=1 | sed 's/^\.It Li$/.It/'
	echo '.El'
}

commands() {
	help_of --help
	printf '%s\n' "$text" | sed -n 's/^  \([a-z][a-z-]*\)  *.*/\1/p'
}

page_rrm() {
	header RRM 1 rrm 'many coding agents, many git repositories, one server'
	printf '.Sh SYNOPSIS\n.Nm\n.Ar COMMAND\n.Op Ar OPTIONS\n.Op Ar ARGS\n'
	cat "$dir/rrm.1.in"
	echo '.Sh COMMANDS'
	for command in $(commands); do
		help_of help "$command"
		printf '.Ss rrm %s\n' "$command"
		usage
		echo '.Pp'
		as_mdoc
	done
	cat "$dir/rrm.1.tail"
}

# page_program NAME DESCRIPTION
page_program() {
	help_of --help
	header "$(echo "$1" | tr '[:lower:]' '[:upper:]')" 8 "$1" "$2"
	echo '.Sh SYNOPSIS'
	usage
	echo '.Sh DESCRIPTION'
	as_mdoc
	cat "$dir/$1.8.tail"
}

# The table of a section of FORMATS.md: | `key` | default | what |
config_keys() {
	sed -n '/^## Configuration/,/^## Below/s/^| *\(`.*\) *|$/\1/p' "$dir/../FORMATS.md" | awk -F ' [|] ' '
		{
			what = $3
			gsub(/`/, "", $0)
			keys = $1
			gsub(/`/, "", what)
			sub(/ +$/, "", what)
			what = toupper(substr(what, 1, 1)) substr(what, 2)
			gsub(/\\/, "\\e", what)
			gsub(/-/, "\\-", what)
			gsub(/\. /, ".\n", what)
			printf ".It Sy %s\n", keys
			printf "Default: %s.\n%s.\n", $2, what
		}'
}

page_config() {
	header RRM.JSON 5 rrm.json 'configuration of rrm'
	cat "$dir/rrm.json.5.in"
	echo '.Bl -tag -width Ds'
	config_keys
	echo '.El'
	cat "$dir/rrm.json.5.tail"
}

case $page in
rrm.1) page_rrm ;;
rrm-mount.8) page_program rrm-mount 'show all registered repositories under one tree' ;;
rrm-backend.8) page_program rrm-backend 'apply and record what others change in a repository' ;;
rrm.json.5) page_config ;;
*)
	echo "man.sh: unknown page $page" >&2
	exit 2
	;;
esac
