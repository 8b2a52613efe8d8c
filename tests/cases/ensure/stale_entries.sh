#!/bin/sh
# Entries that no longer tell the truth are cleared, and the backend keeps its port when it can: killed
# -9, another boot, a reused pid, a damaged registry, a port that somebody else has meanwhile.
. "${0%/*}/../lib.sh"
write_config '{"backend":"embedded"}'
# A zombie that init has not reaped yet is gone.
gone() {
	! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"
}
make_repo a
url=$(rrm ensure a)
reg=$(state_dir a)/registry.json
serving() {
	jq -r .pid "$reg"
}
port=$(jq .port "$reg")
listens() {
	awk -v p=":$(printf %04X "$port")" '$4 == "0A" && index($2, p) { n++ } END { exit !n }' /proc/net/tcp
}
# killed: kill -9, and it has ended, which may take a while: until then its port is not free.
killed() {
	old=$(serving)
	check listens
	kill -9 "$old"
	wait_until 'gone "$old" && ! listens'
}

killed
eq "$(rrm ensure a)" "$url" 'the URL after kill -9'

killed
jq -c --argjson p $$ '.boot_id = "00000000-0000-0000-0000-000000000000" | .pid = $p' "$reg" >"$T/x/j"
cp "$T/x/j" "$reg"
eq "$(rrm ensure a)" "$url" 'the URL after a reboot'

killed
jq -c --argjson p $$ '.pid = $p' "$reg" >"$T/x/j"
cp "$T/x/j" "$reg"
eq "$(rrm ensure a)" "$url" 'the URL after the pid was reused'

# Damaged while its backend lives: it is moved aside, and there are not two backends afterwards.
old=$(serving)
echo '{"repo_id": 7' >"$reg"
check rrm ensure a >/dev/null
[ "$(serving)" != "$old" ] || die 'the old backend is still in use'
check gone "$old"
ls "$reg".corrupt-* >/dev/null || die 'the damaged registry was not kept'

# Somebody else listens on its port now, and answers. (Without an answer it would be the same.)
port=$(jq .port "$reg")
killed
perl -MIO::Socket::INET -e '
	my $s = IO::Socket::INET->new(Listen => 9, LocalAddr => "127.0.0.1", LocalPort => $ARGV[0],
		ReuseAddr => 1) or die "port: $@";
	print "on\n"; close(STDOUT);
	while (my $c = $s->accept) { sysread($c, my $b, 999);
		print $c "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"; close($c) }
	' "$port" >"$T/x/on" 2>"$T/x/err" &
other=$!
wait_until '[ -s "$T/x/on" ] || [ -s "$T/x/err" ]'
[ -s "$T/x/on" ] || die "the other listener: $(cat "$T/x/err")"
check rrm ensure a >"$T/x/url"
[ "$(jq .port "$reg")" != "$port" ] || die 'two listen on one port'
kill "$other"
wait "$other" || true

check rrm restart a >"$T/x/again"
eq "$(cat "$T/x/again")" "$(cat "$T/x/url")" 'the URL after restart'
