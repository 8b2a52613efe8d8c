#!/bin/sh
# rrm whoami says which repository a process is at home in, and by which rule.
. "${0%/*}/../lib.sh"
make_repo a
eq "$(rrm whoami --json | jq -c '[.home, .rule]')" '[null,3]' 'outside'
eq "$(rrm run a -- rrm whoami --json | jq -r '"\(.rule) \(.home) \(.name)"')" "1 $(repo_id a) a" \
	'below rrm run'
check rrm ensure a >/dev/null
pid=$(rrm status a --json | jq '.[0].pid // .pid')
eq "$(rrm whoami --json "$pid" | jq -r '"\(.rule) \(.home)"')" "1 $(repo_id a)" 'the backend'
rrm whoami "$pid" | grep -q 'is the backend' || die 'does not say why'
eq "$(RRM_HOME_REPO=$(repo_id a) RRM_SESSION=ses_9 rrm whoami --json | jq -r '"\(.home) \(.session)"')" \
	"$(repo_id a) ses_9" 'by its environment'
eq "$(status_of rrm whoami nobody)" 2 'no number'
eq "$(status_of rrm whoami 4194305)" 1 'no such process'
check rrm stop --all >/dev/null
