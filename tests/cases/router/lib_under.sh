# Commands that run under a write turn and begin when they are told to: sourced by the cases about deadlocks.
# shellcheck shell=sh

# under NAME REPO CMD...: a shell that holds REPO says so in $T/NAME.held, waits for $T/NAME.go, and runs CMD, which
# speaks to $T/NAME.out. Its pid is in $NAME.
under() {
	un=$1 ur=$2
	shift 2
	# A bound of its own: a mount that has the turn, stopped for longer than a short lock_timeout_ms, gives it back later.
	# shellcheck disable=SC2016 # expanded by the inner shell
	rrm lock "$ur" --timeout 60 -- sh -c ': >"$1.held"; while ! [ -e "$1.go" ]; do sleep 0.01; done; shift; exec "$@"' \
		sh "$T/$un" "$@" >"$T/$un.out" 2>&1 &
	eval "$un=$!"
	wait_until "[ -e '$T/$un.held' ]"
}

# go NAME. The time is in $went.
go() {
	: >"$T/$1.go"
	went=$(date +%s.%N)
}

# ended NAME: its exit status; the name may be used again.
ended() {
	en=0
	eval "wait \$$1" || en=$?
	rm -f "$T/$1.held" "$T/$1.go"
	echo "$en" >"$T/$1.status"
}

# waits_for REPO: somebody waits for that repository's turn under another one.
waits_for() {
	wait_until "jq -e '.[] | select(.waits and .name == \"$1\")' '$S/turns.json' >/dev/null 2>&1"
}

# circle DIR PATH: under a and b each somebody waits for the other, the newest with a mkdir of PATH from DIR in the
# mount: it is told, $T/q.out says what; the other one has gone on. Statuses as of ended.
circle() {
	under p b rrm lock a -- true
	under q a perl -e "chdir '$M/$1' or die; mkdir '$2' or die lc \$!"
	go p
	waits_for a
	go q
	ended q
	ended p
}
