# Where the big suites run: sourced after lib.sh. Two repositories, a and b, mounted; a directory of its own in a, for
# a program that is at home there, and one for a program whose home is b.
# shellcheck shell=sh

start_places() {
	make_repo a
	make_repo b
	start_mount
	mkdir "$T/plain" "$R/a/home" "$R/a/foreign"
}

# dir_of PLACE
dir_of() {
	case $1 in
	plain) echo "$T/plain" ;;
	*) echo "$M/a/$1" ;;
	esac
}

# in_place PLACE DIR CMD...: runs CMD in DIR. Whoever it starts, and wherever it goes, its home stays that of the place.
in_place() {
	case $1 in
	plain) ip_home=$T ;;
	home) ip_home=$M/a ;;
	foreign) ip_home=$M/b ;;
	esac
	shift
	setsid -w sh -c 'cd "$0" && shift && ip_dir=$1 && shift && (cd "$ip_dir" && exec "$@"); exit $?' "$ip_home" "$ip_home" "$@" </dev/null
}
