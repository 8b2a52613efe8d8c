#!/bin/sh
# Some 350 operations of every kind answer in the mount, at home and in a foreign repo, what they answer in a
# plain directory of the same file system; so do umask, default ACLs and what tools make of them. The trees
# are the same afterwards, and the foreign one was changed by its gateway alone.
# timeout: 240
. "${0%/*}/../lib.sh"
make_repo a
make_repo b
mkdir "$R/a/w" "$R/b/w" "$R/b/acl" "$R/a/acl" "$T/plain" "$T/plain/w" "$T/plain/acl"
start_mount

# Everything after the first thing that is wrong would differ, too.
same() {
	diff -u "$T/x/$1.plain" "$T/x/$1.$2" >"$T/x/diff" || die "$1 $2 is not what a plain directory does: $(head -n 40 "$T/x/diff")"
}
# ops WHERE CMD...: what the kernel's FUSE refuses without asking stands apart.
ops() {
	ops_of=$1
	shift
	"$@" >"$T/x/all.$ops_of" || die "it ended with $? ($ops_of): $(tail -n 3 "$T/x/all.$ops_of")"
	grep -v '^collapse:' "$T/x/all.$ops_of" >"$T/x/ops.$ops_of"
}
case $(rrm-mount --version) in
*'libfuse 3.1'[0-6]*)
	export NO_TMPFILE=no-tmpfile
	say "without O_TMPFILE: $(rrm-mount --version)"
	;;
esac
ops plain sh -c "cd $T/plain/w && exec rrm-sameops \$NO_TMPFILE"
[ "$(wc -l <"$T/x/ops.plain")" -gt 290 ] || die "only $(wc -l <"$T/x/ops.plain") lines"
ops home in_repo a sh -c 'cd w && exec rrm-sameops $NO_TMPFILE'
same ops home
# In a child: who goes to another repo himself is at home there.
ops foreign in_repo a sh -c '(cd ../b/w && exec rrm-sameops $NO_TMPFILE); exit $?'
same ops foreign
for where in home foreign; do
	eq "$(grep -c '^collapse:.*= EOPNOTSUPP$' "$T/x/all.$where")" 2 "refused by the kernel's FUSE ($where)"
done

# ACLs: a default one is inherited and overrides the umask; what tools show and copy is the same.
cat >"$T/x/acl.sh" <<'END'
umask 077
cd "$1" || exit 1
setfacl -d -m u:1:rwx,g:2:rx,m::rwx . && setfacl -m u:3:rw . && getfacl -c .
echo x >f && mkdir d && mkdir -p d/e && echo y >d/e/g && cp -p f copy && chmod 640 f
for x in f d d/e d/e/g copy; do
	stat -c '%n %a' $x
	getfacl -c $x
done
setfacl -b f && getfacl -c f && stat -c %a f
setfacl -k d && (umask 027 && mkdir d/plain && echo z >d/z) && stat -c '%n %a' d/plain d/z
setfacl -m m::r copy && stat -c '%n %a' copy && getfacl -c copy
setfacl -m u:nobody-of-this-name:r f
mkdir moved && mv d moved/ && getfacl -cR moved
END
sh "$T/x/acl.sh" "$T/plain/acl" >"$T/x/acl.plain" 2>&1
grep -q 'default:user:daemon:rwx' "$T/x/acl.plain" || die "no ACLs below $T: $(head -n 3 "$T/x/acl.plain")"
in_repo a sh "$T/x/acl.sh" "$M/a/acl" >"$T/x/acl.home" 2>&1
same acl home
in_repo a sh -c 'sh "$0" "$1"; exit $?' "$T/x/acl.sh" "$M/b/acl" >"$T/x/acl.foreign" 2>&1
same acl foreign

# The real trees are what the mount said they are.
tree_of() {
	(cd "$1" && find . ! -type l ! -type s -printf '%p %y %m %n %s\n' | sed 's/^\(.* d [0-9]*\) .*/\1/' | LC_ALL=C sort)
	(cd "$1" && find . -type f -size -1000k ! -perm 0000 ! -name log -exec sha256sum '{}' + | LC_ALL=C sort)
	[ ! -e "$1/log" ] || LC_ALL=C sort "$1/log" # several appended to it at once
}
for t in w acl; do
	tree_of "$T/plain/$t" >"$T/x/tree-$t.plain"
	for r in a b; do
		tree_of "$R/$r/$t" >"$T/x/tree-$t.$r"
		same "tree-$t" $r
	done
done

# A copy at home is made by the file system below: not a byte of it comes through the mount.
head -c 5000000 /dev/urandom >"$R/a/big"
got=$(requests_of in_repo a cp big copied)
case " $got" in
*' COPY_FILE_RANGE'*) ;;
*) die "cp at home asked for $got" ;;
esac
case " $got" in *' WRITE='* | *' READ='*) die "cp at home moved bytes: $got" ;; esac
cmp "$R/a/big" "$R/a/copied" || die 'the copy is another one'
# In a foreign repo the kernel reads and writes.
check in_repo a cp big ../b/copied
cmp "$R/a/big" "$R/b/copied" || die 'the copy in b is another one'
stop_mount
check rrm stop b
check rrm log --verify b >/dev/null
[ "$(audit_count b '.result == "ok"')" -gt 100 ] || die 'the foreign changes are not in the audit'
[ "$(audit_count a)" = 0 ] || die 'changes at home are in the audit'
