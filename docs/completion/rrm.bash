# Completion of rrm and rrm-mount for bash. What can follow is asked of the programs themselves, so there is no
# list here that could differ from them.
# shellcheck shell=bash

_rrm() {
	local cur=${COMP_WORDS[COMP_CWORD]} line word
	COMPREPLY=()
	while IFS= read -r line; do
		word=${line%%$'\t'*}
		case $line in
		:files)
			compopt -o filenames
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")
			;;
		:dirs)
			compopt -o filenames
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$cur")
			;;
		':command '*) _rrm_command "${line#:command }" ;;
		*)
			[[ $word != */ ]] || compopt -o nospace
			[[ $word == "${word//[^a-zA-Z0-9._\/:=@%+-]/}" ]] || printf -v word %q "$word"
			COMPREPLY+=("$word")
			;;
		esac
	done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

# From word $1 behind "rrm" on it is another command's line.
_rrm_command() {
	local at=$(($1 + 1)) cur=${COMP_WORDS[COMP_CWORD]}
	if declare -F _command_offset >/dev/null; then
		_command_offset "$at"
	elif ((COMP_CWORD == at)); then
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
	else
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}

_rrm_mount() {
	local cur=${COMP_WORDS[COMP_CWORD]}
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --help 2>/dev/null |
			sed -n 's/^ *\(-.*\)/\1/p' | sed 's/   .*//' | grep -oE -- '--?[a-z-]+')" -- "$cur")
	else
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
	fi
}

complete -F _rrm rrm
complete -F _rrm_mount rrm-mount
