#!/bin/sh
# needs: root
# timeout: 300
# Completion: what rrm offers, and Tab in real shells: bash, zsh and fish.
. "${0%/*}/../lib.sh"

comp=$RRM_SRC/docs/completion
make_repo web
make_repo api
git_repo 'two words'
check rrm add "$R/two words" >/dev/null

# offered WORD...: the candidates, in one line
offered() {
	rrm __complete "$@" | cut -f1 | paste -sd' '
}
eq "$(offered st)" 'status stop' 'commands'
eq "$(offered stop w)" web 'a repository'
eq "$(offered log --from w)" web 'a repository as the value of an option'
eq "$(rrm __complete write web/src/ | cut -f1 | sort | paste -sd' ')" 'web/src/deep/ web/src/main.c' 'files of a repository'
eq "$(offered run web -- ls)" ':command 3' "another command's line"
eq "$(offered add ./)" :files 'files'
eq "$(offered scan /)" :dirs 'directories'
eq "$(offered shim re)" remove 'a literal word'
eq "$(offered frobnicate '')" '' 'an unknown command'
eq "$(HOME='' RRM_HOME='' rrm __complete stop '')" '' 'no HOME'
# every command and every option that --help has is offered
rrm --help | sed -n 's/^  \([a-z][a-z-]*\)  *.*/\1/p' >"$T/commands"
[ "$(wc -l <"$T/commands")" -gt 15 ] || die 'the commands were not found'
while read -r cmd; do
	rrm __complete "$cmd" | cut -f1 | grep -qx "$cmd" || die "$cmd is not offered"
	rrm "$cmd" --help | grep -oE '(^|[][ |,])--?[a-z][a-z-]*' |
		grep -oE -- '--?[a-z-]+' | sort -u >"$T/x/wanted"
	rrm __complete "$cmd" - | cut -f1 | grep -v -x -e -- -e -h -e --help -e --version | sort >"$T/x/offered"
	while read -r option; do
		grep -qx -e "$option" "$T/x/wanted" || die "rrm $cmd: $option is offered, but not in --help"
	done <"$T/x/offered"
	# what stands in the usage or begins a line of the help
	rrm "$cmd" --help | grep -oE '^usage:.*|^ +-.*' | sed 's/^ *//; s/^usage:\(.*[^a-z]\)-- .*/\1/; s/   *[^ ].*//' | grep -oE '(^|[[ |])--?[a-z][a-z-]*' | grep -oE -- '--?[a-z-]+' |
		while read -r option; do
			grep -qx -e "$option" "$T/x/offered" || die "rrm $cmd: $option of --help is not offered"
		done
done <"$T/commands"

# --- real shells: what stands on the line after Tab ------------------------------------------------
unset TMUX TMUX_PANE
tm() {
	tmux -f /dev/null -S "$T/x/tmux" "$@"
}
shells_exit() {
	shells_status=$?
	tm kill-server 2>/dev/null
	(exit "$shells_status")
	case_end
}
trap shells_exit EXIT

# shell NAME CMD...: a window with a shell whose prompt is "% "
shell() {
	sh_name=$1
	shift
	if tm has-session 2>/dev/null; then
		tm new-window -d -n "$sh_name" "$@"
	else
		tm new-session -d -s s -n "$sh_name" -x 100 -y 30 "$@"
	fi
	wait_until "tm capture-pane -pN -t '$sh_name' | grep -q '^% *\$'"
}
# tabs NAME TYPED WANTED: types, presses Tab
tabs() {
	tm send-keys -t "$1" C-u
	tm send-keys -t "$1" -l "$2"
	tm send-keys -t "$1" Tab
	wait_until "tm capture-pane -pN -t '$1' | grep -v '^ *\$' | grep -qF -e '% $3'"
}

cat >"$T/bashrc" <<END
PS1='% '
. '$comp/rrm.bash'
END
# from a directory where no file looks like what is completed
mkdir "$T/empty" && cd "$T/empty"
shell bash bash --noprofile --rcfile "$T/bashrc" -i
tabs bash 'rrm stat' 'rrm status '
tabs bash 'rrm status w' 'rrm status web '
tabs bash 'rrm status two' 'rrm status two\ words '
tabs bash 'rrm write ap' 'rrm write api/'
tabs bash 'rrm log --verif' 'rrm log --verify '
tabs bash 'rrm-mount --fore' 'rrm-mount --foreground '
tabs bash "rrm run web -- ls $R/we" "rrm run web -- ls $R/web/"

mkdir "$T/zsh"
cat >"$T/zsh/.zshrc" <<END
PS1='%% '
fpath=('$comp' \$fpath)
autoload -Uz compinit && compinit -u -d '$T/zsh/dump'
END
shell zsh env "ZDOTDIR=$T/zsh" zsh -d -i
tabs zsh 'rrm stat' 'rrm status '
tabs zsh 'rrm status w' 'rrm status web '
tabs zsh 'rrm status two' 'rrm status two\ words '
tabs zsh 'rrm write ap' 'rrm write api/'
tabs zsh 'rrm log --verif' 'rrm log --verify '
tabs zsh 'rrm-mount --fore' 'rrm-mount --foreground '
tabs zsh "rrm run web -- ls $R/we" "rrm run web -- ls $R/web/"

# fish says itself what Tab would offer
fish_offers() {
	fish --no-config -c "source '$comp/rrm.fish'; source '$comp/rrm-mount.fish'; complete -C '$1'" | cut -f1 | paste -sd' '
}
eq "$(fish_offers 'rrm stat')" status 'fish: a command'
eq "$(fish_offers 'rrm status w')" web 'fish: a repository'
eq "$(fish_offers 'rrm write ap')" api/ 'fish: a path'
eq "$(fish_offers 'rrm log --ver')" '--verify --version' 'fish: options'
eq "$(fish_offers 'rrm-mount --fore')" --foreground 'fish: rrm-mount'
eq "$(fish_offers "rrm run web -- ls $R/we")" "$R/web/" 'fish: another command'
