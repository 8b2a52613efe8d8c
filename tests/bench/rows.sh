# The rows of the benchmarks, for run.sh (the mount beside a plain tree) and peers.sh (all who do the like).
# Sourced. The caller has made the tree (big_repo), sets files, many, mib, switched, w (a scratch directory in the tree,
# relative), T, and gives
#	row NAME GOAL BEFORE AFTER CMD...	runs CMD in each tree; it prints its time in microseconds. BEFORE and AFTER
#					(":" for none) are not timed; GOAL is the ratio to native, "-" for none
# shellcheck shell=sh
# shellcheck disable=SC2154,SC2086 # what the caller has set, and is one word

# big_repo DIR: FILES small files on main; on the branch "other" some are changed.
big_repo() {
	git init -q -b main "$1"
	git -C "$1" config gc.auto 0
	rrm-workload tree "$1" "$files"
	git -C "$1" add -A
	git -C "$1" commit -qm all
	git -C "$1" checkout -q -b other
	find "$1"/d* -name 'f*' | sort | head -n "$switched" | xargs -d '\n' -n 500 sed -i '1s/^/other /'
	git -C "$1" commit -qam other
	git -C "$1" checkout -q main
	git -C "$1" gc -q
	mkdir "$1/.git/work"
	head -c $((mib * 1048576)) /dev/urandom >"$1/.git/work/large"
}

read_rows() {
	row 'git status' 1.03 : : rrm-workload time git status --porcelain
	row 'git diff' 1.03 : : rrm-workload time git diff
	row 'find -ls' 1.03 : : rrm-workload time find . -ls
	row 'ls -lR' 1.03 : : rrm-workload time ls -lR
	row 'stat of every file, 4 at once' 1.03 : : rrm-workload time \
		sh -c 'for i in 1 2 3 4; do find . -size +100G & done; wait'
	row 'rg, 4 threads' 1.15 : : rrm-workload time rg -j4 nothing-has-this
	row 'rg, 1 thread' 1.15 : : rrm-workload time rg -j1 nothing-has-this
	row 'grep -r' 1.15 : : rrm-workload time grep -r nothing-has-this d1 d2 d3
	row "open+read+close of $files files, 1 thread" 1.15 : : rrm-workload read . "$files" 1
	row "open+read+close of $files files, 4 threads" 1.15 : : rrm-workload read . "$files" 4
	row "read $mib MiB, sequential" 1.05 : : rrm-workload read-seq $w/large $((mib * 1048576)) 131072
	row "read $mib MiB, 4 KiB at random" 1.05 : : rrm-workload read-random $w/large $((mib * 1048576)) 4096
	row 'the same, first read' 1.5 "rm -f $w/cold && cp $w/large $w/cold" : \
		rrm-workload read-seq $w/cold $((mib * 1048576)) 131072
}

# What is to be made once before work_rows: a repository of its own, a package, tests, in $T.
work_material() {
	mkdir -p "$T/npm/pkg/lib" "$T/js" "$T/py"
	printf '{"name":"pkg","version":"1.0.0"}\n' >"$T/npm/pkg/package.json"
	rrm-workload tree "$T/npm/pkg/lib" $((many / 5)) >/dev/null
	(cd "$T/npm" && tar -czf pkg.tgz --transform 's,^pkg,package,' pkg)
	i=0
	while [ $i -lt $((many / 100)) ]; do
		printf 'def f%d(x):\n    return [y * %d for y in range(x)]\n' $i $i >"$T/py/m$i.py"
		printf 'exports.f = (x) => x + %d;\n' $i >"$T/js/m$i.js"
		printf "require('node:test')('t', () => require('assert').equal(require('./m%d.js').f(1), %d));\n" $i $((i + 1)) \
			>"$T/js/m$i.test.js"
		i=$((i + $((many > 1000 ? 5 : 1))))
	done
}

write_rows() {
	# (a clone on the same file system would make hard links of the objects, and less of a clone)
	row "create $many files of 4 KiB" 1.6 "mkdir $w/c" "rm -r $w/c" rrm-workload create $w/c "$many" 4096
	row "rm -r of $many files of 4 KiB" 3 "mkdir $w/c && rrm-workload create $w/c $many 4096" : \
		rrm-workload time rm -r $w/c
	row "untar $files files" 1.6 "mkdir $w/t" "rm -r $w/t" rrm-workload time tar -C $w/t -xf "$T/a.tar"
	row "git checkout of $switched files" 1.6 : 'git checkout -q main' rrm-workload time git checkout -q other
	row 'git clone' 1.6 : "rm -rf $w/clone" rrm-workload time git clone -q --no-hardlinks "$T/clone.git" $w/clone
	row "write $((mib / 4)) MiB in 1 MiB calls" 3 : : rrm-workload write-seq $w/w $((mib * 262144)) 1048576
	row "write $((mib / 4)) MiB in 4 KiB calls" 5 : : rrm-workload write-seq $w/w $((mib * 262144)) 4096
	row "write $((mib / 4)) MiB, 4 KiB at random" - : : rrm-workload write-random $w/w $((mib * 262144)) 4096
}

work_rows() {
	if [ -d "${RRM_LIBFUSE-}" ]; then
		row 'ninja -j4 of libfuse' 1.15 "rm -rf $w/fuse && cp -r $RRM_LIBFUSE $w/fuse && cd $w/fuse &&
			meson setup -Dexamples=false -Dtests=false -Dutils=false b >/dev/null" "rm -rf $w/fuse" \
			rrm-workload time ninja -C $w/fuse/b -j4
	fi
	row 'npm install of a package, offline' 1.15 "mkdir -p $w/npm && echo '{}' >$w/npm/package.json" "rm -rf $w/npm" \
		rrm-workload time npm install --prefix $w/npm --offline --no-audit --no-fund --no-update-notifier "$T/npm/pkg.tgz"
	row 'python3 -m compileall' 1.15 "cp -r $T/py $w/py" "rm -rf $w/py" \
		rrm-workload time python3 -m compileall -q $w/py
	row 'node --test' 1.15 "cp -r $T/js $w/js" "rm -rf $w/js" rrm-workload time node --test $w/js
	row 'ten git commands of an agent step' 1.05 'echo step >>d1/step' 'git reset -q --hard main@{1}' \
		rrm-workload time sh -c 'git status --porcelain; git diff; git log --oneline -5; git rev-parse HEAD
			git ls-files -m; git add -A; git diff --cached; git commit -qm step; git show --stat HEAD; git branch'
}

# Needs root, and slows down whoever else is on the machine.
cold_rows() {
	row 'git status, everything cold' 1.3 'sync; echo 3 >/proc/sys/vm/drop_caches' : rrm-workload time git status --porcelain
	row 'rg, everything cold' 1.3 'sync; echo 3 >/proc/sys/vm/drop_caches' : rrm-workload time rg -j4 nothing-has-this
}
