#!/bin/sh
# What a program writes through a shared mapping lands in the real file, at home and in a foreign repository,
# there with a record of the session that had the file open.
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
for f in a/f b/f b/mapped_only; do
	head -c 8192 /dev/zero | tr '\0' . >"$R/$f"
done
start_mount
for f in f ../b/f; do
	# a call of its own first: the mapping's pages come from the kernel, which names nobody
	check in_repo a sh -c "printf first | dd of=$f conv=notrunc status=none && exec rrm-workload mmap $f 5000 mapped"
done
check in_repo a rrm-workload mmap ../b/mapped_only 5000 mapped
for f in a/f b/f b/mapped_only; do
	wait_until "[ \"\$(tail -c +5001 '$R/$f' | head -c 6)\" = mapped ]"
	eq "$(stat -c %s "$R/$f")" 8192 "size of $f"
done

# It is no write(2): set-id bits stay, which that takes from a file of anybody but root.
for f in f ../b/f; do
	check in_repo a python3 -c 'import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(fd, 8192)
m[6000:6003] = b"abc"
os.fchmod(fd, 0o6755)
m[7000:7003] = b"xyz"
m.flush()' "$f"
done
for f in a/f b/f; do
	wait_until "[ \"\$(tail -c +7001 '$R/$f' | head -c 3)\" = xyz ]"
	eq "$(stat -c %a "$R/$f")" 6755 "mode of $f after a store into a mapping"
done
check in_repo a sh -c 'printf x | dd of=f conv=notrunc status=none; printf x | dd of=../b/f conv=notrunc status=none'
[ "$(id -u)" = 0 ] || eq "$(stat -c %a "$R/a/f" "$R/b/f" | paste -sd' ')" '755 755' 'modes after write(2)'
check rrm stop --all >/dev/null
eq "$(audit_count a)" 0 'records of a'
eq "$(audit b 'select(.path == "f") | .actor.home' | sort -u)" "$(repo_id a)" 'home in the records of b/f'
[ "$(audit b 'select(.path == "f" and .result == "ok") | .bytes' | awk '{ s += $1 } END { print s }')" -gt 4096 ] ||
	die "the write-back has no record: $(audit b)"
eq "$(audit b 'select(.path == "mapped_only") | "\(.actor.home) \(.result)"' | sort -u)" 'null ok' 'a mapping of nobody'
stop_mount
