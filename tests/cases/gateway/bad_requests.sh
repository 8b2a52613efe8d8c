#!/bin/sh
# What is malformed is refused with a sentence and changes nothing; the gateway goes on.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_gateway.sh"
echo safe >"$T/victim"
echo kept >"$T/root/f"
ln -s ../victim "$T/root/out"
ln -s .. "$T/root/up"
ln -s "$T" "$T/root/abs"
start_gateway
tree() {
	find "$T/root" "$T/victim" -printf '%p %y %m %s %T@\n' | sort
	cat "$T/victim" "$T/root/f"
}
tree >"$T/before"

bad 'not JSON' 400 '{"id":'
bad 'not JSON' 400 'null null'
bad 'not a JSON object' 400 '[1]'
bad 'none that there is' 400 '{"id":"a","epoch":1,"op":"format","path":"f"}'
bad 'id is missing' 400 '{"epoch":1,"op":"unlink","path":"f"}'
bad 'epoch 0' 400 '{"id":"a","op":"unlink","path":"f"}'
bad 'epoch is not an integer' 400 '{"id":"a","epoch":-4,"op":"unlink","path":"f"}'
bad 'path is missing' 400 '{"id":"a","epoch":1,"op":"unlink"}'
bad 'takes no body' 400 '{"id":"a","epoch":1,"op":"unlink","path":"f"}' -d xx
bad 'u0000' 400 '{"id":"a","epoch":1,"op":"unlink","path":"f\u0000g"}'
for path in '' . .. ../victim a/../../victim "$T/victim" a//b f/ ./f a/./b; do
	bad 'path must be relative' 400 "{\"id\":\"a\",\"epoch\":1,\"op\":\"unlink\",\"path\":\"$path\"}"
	bad 'path2 must be relative' 400 \
		"{\"id\":\"a\",\"epoch\":1,\"op\":\"rename\",\"path\":\"f\",\"path2\":\"$path\"}"
done
name=$(printf 'n%.0s' $(seq 300))
bad 'path must be relative' 400 "{\"id\":\"a\",\"epoch\":1,\"op\":\"mkdir\",\"path\":\"$name\"}"

# Not malformed, but out of the root: the call fails, and that is recorded.
for path in up/victim abs/victim; do
	for op in unlink write truncate chmod; do
		eq "$(post "{\"id\":\"$op-$path\",\"epoch\":1,\"op\":\"$op\",\"path\":\"$path\"}")" 200 status
		eq "$(jq .errno "$T/answer")" 13 "errno of $op $path"
		grep -qF 'leads out of the repository' "$T/answer" || die "said $(cat "$T/answer")"
	done
done
eq "$(post '{"id":"s1","epoch":1,"op":"write","path":"out"}' -d bad)" 200 status
eq "$(jq .errno "$T/answer")" 40 'errno of a write to a symlink'

# Paths, methods, headers, bodies.
http() {
	curl -s -o "$T/answer" -w '%{http_code}' --unix-socket "$G/gateway.sock" "$@" || true
}
eq "$(http http://rrm/)" 404 'status of /'
eq "$(http http://rrm/mutations/x)" 404 'status of an unknown path'
eq "$(http http://rrm/mutations)" 405 'status of GET /mutations'
eq "$(http -X DELETE http://rrm/health)" 405 'status of DELETE /health'
eq "$(http -X POST http://rrm/mutations)" 400 'status without a header'
grep -qF 'Rrm-Mutation is missing' "$T/answer" || die "said $(cat "$T/answer")"
write='{"id":"w","epoch":1,"op":"write","path":"f"}'
bad 'at most 1048576 bytes' 413 "$write" -H 'Content-Length: 1073741824' -H 'Expect:'
head -c 1048577 /dev/zero >"$T/large"
bad 'at most 1048576 bytes' 413 "$write" --data-binary "@$T/large" -H 'Expect:'
bad 'Content-Length' 411 "$write" -H 'Transfer-Encoding: chunked' -d xx
truncate -s 1G "$T/huge"
sent=$(http -w '%{http_code} %{size_upload}' -X POST -H "Rrm-Mutation: $write" -T "$T/huge" http://rrm/mutations)
eq "${sent% *}" 413 'status of 1 GiB'
[ "${sent#* }" -lt 16777216 ] || die "${sent#* } bytes of a body of 1 GiB were read"
# The connection ends in the middle of a body, of a header, or speaks something else.
for text in "POST /mutations HTTP/1.1\r\nHost: x\r\nRrm-Mutation: $write\r\nContent-Length: 10\r\n\r\nhal" \
	'POST /mutations HTT' 'SSH-2.0-x\r\n\r\n' '\0\0\0\0'; do
	# shellcheck disable=SC2059 # the text is the format
	printf "$text" | timeout 5 curl -s --unix-socket "$G/gateway.sock" telnet://rrm:80 >/dev/null || true
done
kill -0 "$gateway_pid" || die 'the gateway is gone'

tree >"$T/after"
check cmp "$T/before" "$T/after"

# A large header is no error, and a whole mebibyte fits.
pad=$(head -c 48000 /dev/zero | tr '\0' x)
good "{\"id\":\"h\",\"epoch\":1,\"op\":\"mkdir\",\"path\":\"d\",\"later\":\"$pad\"}"
head -c 1048576 /dev/urandom >"$T/mebibyte"
good '{"id":"m1","epoch":1,"op":"write","path":"f"}' --data-binary "@$T/mebibyte" -H 'Expect:'
check cmp "$T/mebibyte" "$T/root/f"
stop_gateway
eq "$(jq -r 'select(.result == "ok") | .op' "$G/audit.jsonl" | tr '\n' ' ')" 'mkdir write ' 'what was done'
eq "$(jq -r 'select(.result == "refused") | .path' "$G/audit.jsonl" | wc -l)" 8 'refusals recorded'
