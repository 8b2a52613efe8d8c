#!/bin/sh
# Without a systemd of the user, rrm login enable puts one line into the profile of the shell, which mounts; disable
# leaves the profile as it was, byte for byte.
. "${0%/*}/../lib.sh"
export RRM_MOUNTPOINT="$M" SHELL=/bin/sh
make_repo a
printf 'export EDITOR=ed\n# no newline at the end' >"$HOME/dotfile"
cp "$HOME/dotfile" "$T/x/before"
chmod 600 "$HOME/dotfile"
ln -s dotfile "$HOME/.profile"
eq "$(status_of rrm login status)" 1 'exit status of status before'
grep -q '^rrm login enable mounts at each login$' "$T/x/out" || die "what to do is not said: $(cat "$T/x/out")"
check rrm login enable >/dev/null
check rrm login enable >/dev/null
eq "$(grep -c rrm-mount "$HOME/.profile")" 1 'lines after enabling twice'
[ -L "$HOME/.profile" ] || die 'the link to the dotfile was replaced'
eq "$(stat -c %a "$HOME/dotfile")" 600 'mode of the profile'
eq "$(status_of rrm login status)" 0 'exit status of status'
check timeout 60 sh -c '. "$HOME/.profile"; [ "$EDITOR" = ed ]'
mounted || die 'the profile does not mount'
check timeout 60 sh -c '. "$HOME/.profile"'
check rrm-mount -u "$M"
check rrm login disable >/dev/null
printf '\n' >>"$T/x/before"
cmp "$HOME/dotfile" "$T/x/before" || die 'the profile is not what it was'
check rrm login disable

for shell in 'zsh .zprofile' 'fish .config/fish/conf.d/rrm.fish' 'bash .profile'; do
	SHELL=/usr/bin/${shell% *}
	check rrm login enable >/dev/null
	grep -q rrm-mount "$HOME/${shell#* }" || die "no line for ${shell% *}"
	check rrm login disable >/dev/null
	! grep -q rrm-mount "$HOME/${shell#* }" || die "the line for ${shell% *} is left"
done
: >"$HOME/.bash_profile"
check rrm login enable >/dev/null
grep -q rrm-mount "$HOME/.bash_profile" || die 'bash reads .bash_profile, and it has no line'

eq "$(status_of rrm login)" 2 'exit status without a word'
eq "$(status_of rrm login enable now)" 2 'exit status with a word too many'
eq "$(status_of env -u HOME rrm login enable)" 1 'exit status without HOME'
