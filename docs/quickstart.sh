#!/bin/sh
# From a clone to a running mount: installs what is needed (apt), builds, installs under ~/.local, registers
# repositories, mounts ~/rrm and shows what that brings. Running it again is fine.
#
#	sh docs/quickstart.sh [DIR...]    the git repositories that are or lie below DIR; with no DIR three
#	                                  small sample repositories in ~/rrm-samples
#	sh docs/quickstart.sh --stop      ends the mount and all backends; repositories stay registered
#
# PREFIX (default ~/.local) is where it is installed, MOUNTPOINT (default ~/rrm) where it is mounted.
set -eu
src=$(cd "$(dirname "$0")/.." && pwd -P)

die() {
	printf '%s\n' "quickstart: $*" >&2
	exit 1
}

[ -n "${HOME-}" ] || die 'HOME is not set: it says where to install and to mount'
prefix=${PREFIX:-$HOME/.local}
mnt=${MOUNTPOINT:-$HOME/rrm}
samples=$HOME/rrm-samples
# shellcheck disable=SC2088 # for people
case $mnt in "$HOME"/*) shown="~/${mnt#"$HOME/"}" ;; *) shown=$mnt ;; esac
for p in "PREFIX is $prefix" "MOUNTPOINT is $mnt"; do
	case $p in *' is /'*) ;; *) die "$p; it must be an absolute path" ;; esac
done
PATH=$prefix/bin:$PATH

stop() {
	command -v rrm-mount >/dev/null || die "rrm is not installed in $prefix; nothing to stop"
	! mounted || rrm-mount -u "$mnt" || die "$mnt could not be unmounted"
	rrm stop --all
	echo "Stopped. Repositories stay registered (rrm list); sh $src/docs/quickstart.sh starts again."
}

mounted() {
	awk -v m="$mnt" '$5 == m { found = 1 } END { exit !found }' /proc/self/mountinfo
}

# Before anything is built: a clone in ~ is called rrm as well.
check_mountpoint() {
	mounted || [ ! -e "$mnt" ] || [ -z "$(ls -A "$mnt" 2>/dev/null)" ] || die "$mnt is where the repositories are shown, and it is not empty$(
		case $src/ in "$mnt"/*) printf %s ': this clone is there' ;; esac
	); move what is there away (mv $mnt $mnt-src), or give another place: MOUNTPOINT=$HOME/repos sh docs/quickstart.sh"
}

step() {
	printf '\n== %s\n' "$*"
}

# Shows a command as one would type it, then runs it in a shell that is at home in the repository $1.
show() {
	printf '\n%s/%s$ %s\n' "$shown" "$1" "$2"
	(cd / && setsid -w sh -c 'cd "$1" && eval "$2"' sh "$mnt/$1" "$2") || die "that failed: $2"
}

build() {
	step "Building and installing in $prefix"
	sh "$src/docs/install-deps.sh"
	log=$(mktemp)
	set -- "$src" "$src/build" --prefix "$prefix" -Dbuildtype=release
	[ ! -f "$src/build/build.ninja" ] || set -- --reconfigure "$@"
	if ! { meson setup "$@" && ninja -C "$src/build" && meson install -C "$src/build" --no-rebuild --skip-subprojects; } >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		die "the build failed; all of its output is in $log"
	fi
	rm -f "$log"
	echo "$(rrm --version | head -n 1), $(command -v rrm)"
}

sample() {
	[ ! -e "$samples/$1/.git" ] || return 0
	git init -q "$samples/$1"
	printf '%s\n' "$2" >"$samples/$1/README.md"
	git -C "$samples/$1" add README.md
	git -C "$samples/$1" -c user.name=rrm -c user.email=rrm@localhost commit -qm "$1: start"
}

register() {
	step 'Registering repositories'
	if [ $# = 0 ]; then
		sample web 'The web front end. It calls the api.'
		sample api 'The api: GET /users gives all users.'
		sample docs 'The handbook.'
		set -- "$samples"
	fi
	for dir; do
		[ -d "$dir" ] || die "$dir is not a directory"
		if [ -e "$dir/.git" ]; then
			rrm add "$dir"
		else
			rrm scan "$dir"
		fi
	done
	rrm list
}

tour() {
	# shellcheck disable=SC2012 # two names are enough, whatever they hold
	home=$(ls "$mnt" | sed -n 1p)
	# shellcheck disable=SC2012
	other=$(ls "$mnt" | sed -n 2p)
	if [ -d "$samples" ] && [ -d "$mnt/web" ] && [ -d "$mnt/api" ]; then
		home=web other=api
	fi
	if [ -z "$other" ]; then
		echo "Register a second repository to see how one reads and writes another: rrm add PATH"
		return 0
	fi
	step "At home in $home: reading $other, and writing into it"
	show "$home" "ls -A '../$other' | head -n 5"
	before=$(rrm log "$other" -n 1)
	show "$home" "echo 'a note from $home' > '../$other/rrm-quickstart.txt'"
	show "$home" "cat '../$other/rrm-quickstart.txt'"
	step "The record of that write in the audit log of $other"
	# It is written when the writer's turn ends, a moment after its last change.
	tries=100
	while [ "$tries" -gt 0 ] && [ "$(rrm log "$other" -n 1)" = "$before" ]; do
		tries=$((tries - 1))
		sleep 0.2
	done
	show "$home" "rrm log '$other' -n 1"
	show "$home" "rm '../$other/rrm-quickstart.txt'"
}

case ${1-} in
--stop)
	stop
	exit 0
	;;
-h | --help)
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 0
	;;
-*) die "unknown option $1 (see --help)" ;;
esac
check_mountpoint
build
register "$@"
step "Mounting $mnt"
rrm-mount "$mnt"
ls "$mnt"
tour
step 'It is running. To go on:'
cat <<END
  cd $shown/<repository>       work there; start agents there
  rrm status                  backends, write turns, last writes
  rrm log REPO                who wrote what into REPO
  rrm add PATH                one more repository
  rrm --help
To stop: ${MOUNTPOINT:+MOUNTPOINT=$mnt }sh $src/docs/quickstart.sh --stop
END
case :${PATH#*:}: in
*:"$prefix/bin":*) ;;
*) echo "For your shell: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
