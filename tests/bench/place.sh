# What the benchmarks share, sourced by each. own_place gives it $T, a short path below $TMPDIR because of the gateway's
# socket, that goes with everything in it at the end; the mountpoint $M, a HOME and a state base there. With "small", which
# measures nothing, on whatever file system that is.
# shellcheck shell=sh

own_place() {
	T=$(mktemp -d "${TMPDIR:-/tmp}/rb.XXXX")
	M=$T/m
	export HOME="$T/h" RRM_HOME="$T/s" XDG_CONFIG_HOME="$T/h/.config" GIT_CONFIG_NOSYSTEM=1
	export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=a@example.org
	export GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=a@example.org
	trap leave EXIT
	trap 'exit 130' HUP INT TERM
	[ "${1-}" = small ] || give_journal
	mkdir -p "$XDG_CONFIG_HOME/rrm" "$M"
}

# An ext4 without a journal looks for an inode that was not deleted in the last minutes whenever a file is made, so that the same
# checkout takes twice the time in one tree as in another: $T is an ext4 of its own with one then. Root's only.
give_journal() {
	gj=$(df --output=source "$T" | tail -n 1)
	[ "$(id -u)" = 0 ] && [ "$(df --output=fstype "$T" | tail -n 1)" = ext4 ] || return 0
	[ -z "$(find /proc/fs/jbd2 -maxdepth 1 -name "${gj##*/}-*" 2>/dev/null)" ] || return 0
	truncate -s 24G "$T.img"
	mkfs.ext4 -q -F -i 32768 -E lazy_itable_init=0,lazy_journal_init=0 "$T.img"
	mount -o loop "$T.img" "$T"
	echo "$gj has no journal: measured on an ext4 of its own, a loop device"
}

# before_leave: what ends before $T goes; a benchmark may have another one.
before_leave() {
	rrm-mount -u "$M" >/dev/null 2>&1 || umount -l "$M" 2>/dev/null || true
	rrm stop --all >/dev/null 2>&1 || true
}

leave() {
	st=$?
	trap - EXIT
	cd /
	before_leave
	! mountpoint -q "$T" || umount -l "$T"
	rm -rf "$T" "$T.img"
	exit "$st"
}

# at DIR CMD...: at home there.
at() {
	setsid -w sh -c 'cd "$1" && shift && exec "$@"' sh "$@"
}

# pauses TIMES DIR: in us, of a home mkdir and rmdir in DIR that come right after a kill -9 of the server
pauses() {
	i=0
	while [ "$i" -lt "$1" ]; do
		server=$(jq .server "$RRM_HOME/mount.json")
		at "$2" rrm-workload pause "$server" "$2"
		while [ "$(jq .server "$RRM_HOME/mount.json")" = "$server" ]; do
			sleep 0.05
		done
		i=$((i + 1))
	done
}

median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
