#!/bin/sh
# fs -> router -> manager -> manager/base: no #include points left, and each layer keeps to its libraries.
# usage: layering.sh [ROOT]
set -eu
root=${1:-$(cd "$(dirname "$0")/../.." && pwd -P)}
cd "$root"
find fs router manager -name '*.[ch]' | LC_ALL=C sort | xargs awk '
function layer(path) {
	if (path ~ /^manager\/base\//)
		return "base"
	sub(/\/.*/, "", path)
	return path
}
function bad(why) {
	printf "%s:%d: includes %s: %s\n", FILENAME, FNR, inc, why
	errors++
}
# What a file of layer "from" may include of ours.
function ours(from) {
	if (from == "fs") {
		if (inc ~ /^router\// && inc != "router/router.h" && inc != "router/mutation.h")
			bad("of the router, fs sees router/router.h and router/mutation.h only")
	} else if (from == "router" && inc ~ /^fs\//) {
		bad("router knows nothing of fs")
	} else if (from == "manager" && inc !~ /^manager\//) {
		bad("manager includes manager/ only")
	} else if (from == "base" && inc !~ /^manager\/base\//) {
		bad("manager/base includes manager/base/ only")
	}
}
function libraries(from) {
	if (from == "fs" && inc ~ /^(curl\/|microhttpd)/)
		bad("fs speaks no HTTP")
	if (from != "fs" && inc ~ /^fuse/)
		bad("only fs speaks FUSE")
}
FNR == 1 { files++ }
/^[ \t]*#[ \t]*include/ {
	inc = $0
	sub(/^[ \t]*#[ \t]*include[ \t]*/, "", inc)
	quoted = inc ~ /^"/
	inc = substr(inc, 2)
	sub(/[">].*/, "", inc)
	from = layer(FILENAME)
	if (inc ~ /^(fs|router|manager)\//)
		ours(from)
	else if (quoted && inc !~ /^(fuse|tests\/)/)
		bad("ours are written from the root: \"router/turn.h\"")
	else if (quoted && inc ~ /^tests\//)
		bad("nothing includes the tests")
	libraries(from)
}
END {
	if (errors)
		exit 1
	if (!files) {
		print "layering: no source files found"
		exit 1
	}
	printf "layering: %d files, no include points left\n", files
}'
