#!/bin/sh
# .rrm: status, the views of each repository, and endpoint, whose reading starts the backend.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
start_mount
eq "$(jq -r '[.[].state] | join(" ")' "$M/.rrm/status")" 'stopped stopped' 'states at first'
eq "$(cat "$M/.rrm/repos/b/id")" "$(repo_id b)" id
eq "$(cat "$M/.rrm/repos/b/root")" "$R/b" root
eq "$(cat "$M/.rrm/repos/b/branch")" main branch
eq "$(ls "$M/.rrm/repos")" 'a
b' repos
url=$(cat "$M/.rrm/repos/b/endpoint")
echo "$url" | grep -qE '^http://127\.0\.0\.1:[0-9]+$' || die "endpoint is '$url'"
eq "$(rrm status b --json | jq -r '(if type == "array" then .[0] else . end) | .state + " " + .url')" "ready $url" \
	'status after reading endpoint'
eq "$(cat "$M/.rrm/repos/b/endpoint")" "$url" 'endpoint once more'
curl -s -o /dev/null "$url/" || die "nobody listens at $url"
wait_until '[ "$(jq -r '"'"'.[] | select(.name == "b") | .state'"'"' "$M/.rrm/status")" = ready ]'
check in_repo a sh -c 'echo x >../b/f'
wait_until 'grep -q "\"f\"" "$M/.rrm/repos/b/audit"'
fails_with '' sh -c "echo x >'$M/.rrm/status'"
fails_with '' mkdir "$M/.rrm/d"
fails_with '' rm "$M/.rrm/errors"
fails_with '' mkdir "$M/newrepo"
fails_with '' sh -c "echo x >'$M/file'"
stop_mount
