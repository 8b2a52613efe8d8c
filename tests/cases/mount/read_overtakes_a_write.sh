# Whose write(2) stands still in the kernel while the file is changed outside, and read, reads what he wrote.
# needs: root
# shellcheck shell=sh
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
files='a/1 a/2 a/3 b/1 b/2 b/3' # written at home and by b's gateway
for f in $files; do
	head -c 8192 /dev/zero >"$R/$f"
done
start_mount
for f in $files; do
	check in_repo a rrm-overtaken "$M/$f" "$R/$f"
	eq "$(tr -d w <"$R/$f" | wc -c)" 0 'what was not written'
done
stop_mount
