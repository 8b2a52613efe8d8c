#!/bin/sh
# Every command explains itself; what is misspelt is a usage error with a suggestion.
. "${0%/*}/../lib.sh"

# rrm alone: how things are and what to do next
rrm | grep -q '^  mount  *not mounted' || die "rrm alone says: $(rrm)"
rrm | grep -q '^  rrm scan DIR ' || die "rrm alone, without a repository, says: $(rrm)"
make_repo web
rrm | grep -q '^  repositories *1$' || die "rrm alone says: $(rrm)"
refuse env -u HOME -u RRM_HOME -u XDG_CONFIG_HOME rrm 2>"$T/x/err"
eq "$(cat "$T/x/err")" 'rrm: neither HOME nor RRM_HOME is set; set one of them, so that there is a place for the state' 'no HOME'
check rrm remove web >/dev/null
for cmd in $(rrm --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
	rrm "$cmd" --help >"$T/x/help"
	head -n 1 "$T/x/help" | grep -q "^usage: rrm $cmd" || die "help of $cmd: $(cat "$T/x/help")"
	[ "$(wc -l <"$T/x/help")" -ge 3 ] || die "the help of $cmd says nothing"
	[ -n "$(tail -n 1 "$T/x/help")" ] || die "the help of $cmd ends with an empty line"
	eq "$(rrm "$cmd" --version)" "$(rrm --version)" "--version of $cmd"
	eq "$(status_of rrm "$cmd" --no-such-option)" 2 "status of $cmd with an unknown option"
	grep -q '^rrm: ' "$T/x/err" || die "$cmd said: $(cat "$T/x/err")"
done
for cmd in add remove scan list ensure status stop restart env run log blame top gc; do
	rrm --help | grep -q "^  $cmd " || die "$cmd is not listed"
done
eq "$(status_of rrm statsu)" 2 'an unknown command'
eq "$(cat "$T/x/err")" 'rrm: unknown command "statsu"; did you mean "status"?' 'the suggestion'
eq "$(status_of rrm log --verfy)" 2 'a misspelt option'
eq "$(cat "$T/x/err")" 'rrm: unknown option --verfy; did you mean --verify? See rrm log --help' 'its suggestion'
eq "$(status_of rrm log --frobnicate)" 2 'an option like no other'
eq "$(cat "$T/x/err")" 'rrm: unknown option --frobnicate; see rrm log --help' 'no suggestion'
eq "$(status_of rrm frobnicate)" 2 'a command like no other'
eq "$(status_of rrm list web)" 2 'list with an argument'
eq "$(status_of rrm status a b)" 2 'status with two'
eq "$(status_of rrm -x)" 2 'an option without a command'
eq "$(cat "$T/x/err")" 'rrm: unknown option -x; see rrm --help' 'what it says'
eq "$(status_of rrm-mount --reexc)" 2 'a misspelt option of rrm-mount'
eq "$(cat "$T/x/err")" 'rrm-mount: unknown option --reexc; did you mean --reexec? See rrm-mount --help' 'its suggestion'
eq "$(status_of rrm-backend --gatway)" 2 'a misspelt option of rrm-backend'
grep -q 'did you mean --gateway?' "$T/x/err" || die "rrm-backend said: $(cat "$T/x/err")"
# what needs no state is told without a HOME, and whatever the configuration says
for prog in rrm rrm-mount rrm-backend; do
	for option in --help --version; do
		check env -u HOME -u RRM_HOME -u XDG_CONFIG_HOME "$prog" "$option" >/dev/null
	done
done
# output that cannot be written is an error, not a silent success
if rrm list --json >/dev/full 2>"$T/x/err"; then
	die 'a full output was not noticed'
fi
grep -q 'No space left' "$T/x/err" || die "said: $(cat "$T/x/err")"
