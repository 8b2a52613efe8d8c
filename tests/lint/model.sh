#!/bin/sh
# The models of the write turn (tests/model/*.pml, see docs/ARCHITECTURE.md) hold in every state that there is; and
# each of their deliberate mistakes (-DBUG_...) is found, so they can fail. About a minute of two cores.
# usage: model.sh [NAME [-DDEFINE...]]     one of them, with the way to what is wrong
set -eu
dir=$(cd "$(dirname "$0")/../model" && pwd -P)
tmp=$(mktemp -d /tmp/rrm-model.XXXXXX)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
cd "$tmp"

# check NAME DEFINES...: "ok" or what spin found, on stdout; 0 when there was nothing
check() {
	name=$1
	shift
	mkdir "$tmp/$$"
	cd "$tmp/$$"
	cp "$dir/$name.pml" .
	spin -a "$@" "$name.pml" >out 2>&1 || { cat out; return 2; }
	gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=3000 -o pan pan.c || return 2
	./pan -n -m500000 >out 2>&1 || true
	if grep -q 'errors: 0$' out && ! grep -qi 'max search depth too small\|out of memory\|aborted' out; then
		sed -n "s/^ *\([0-9]*\) states, stored.*/ok $name $*: \1 states/p" out
		return 0
	fi
	grep 'pan:1:\|error\|memory' out || cat out
	[ -z "${way-}" ] || spin -t -p -g "$@" "$name.pml" 2>&1 | tail -n 100
	grep -q 'pan:1:' out || return 2
	return 1
}

case ${1-} in
--one)
	shift
	wanted=$1
	shift
	st=0
	text=$(check "$@") || st=$?
	[ "$st" = "$wanted" ] && [ "$wanted" = 1 ] && text="ok $*: found"
	[ "$st" = "$wanted" ] || text="not ok (status $st, not $wanted) $*: $text"
	printf '%s\n' "$text"
	[ "$st" = "$wanted" ]
	exit
	;;
?*)
	way=yes
	check "$@"
	exit
	;;
esac

{
	echo 0 fence
	echo 0 turn -DROUNDS=1
	echo 0 turn -DROUNDS=1 -DCANCEL
	echo 0 circle
	echo 0 circle -DBOUND
	for f in "$dir"/*.pml; do
		n=$(basename "$f" .pml)
		more=
		[ "$n" != turn ] || more='-DROUNDS=1 -DCANCEL'
		sed -n 's/^#ifn\{0,1\}def \(BUG_[A-Z_]*\)$/\1/p' "$f" | sort -u | sed "s/.*/1 $n $more -D&/"
	done
} >list
[ "$(grep -c BUG_ list)" -ge 11 ] || { echo 'model: mistakes are missing'; exit 1; }
sed 's/ -DCANCEL\( -DBUG_POKED_ONCE\)/\1/' list | xargs -P 2 -L 1 sh "$dir/../lint/model.sh" --one
