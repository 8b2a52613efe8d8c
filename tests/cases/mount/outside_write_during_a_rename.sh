#!/bin/sh
# needs: root
# A program outside writes a file at the very moment at which it is renamed, linked or loses a name in the mount: who has
# it open there reads the new bytes, though the change through the mount moved the file's time, too.
. "${0%/*}/../lib.sh"
write_config '{"transport":"dev"}'
make_repo a
start_mount
# The server takes 300 ms for each of these calls.
strace -f -o "$T/trace" -e trace=renameat,renameat2,linkat,unlinkat -e inject=renameat,renameat2,linkat,unlinkat:delay_enter=300000 \
	-p "$(server_pid)" 2>"$T/strace.err" &
tracer=$!
wait_until "grep -qs attached '$T/strace.err'"
# during WHAT PERL: PERL changes f, and the real f is written meanwhile
during() {
	printf aaaaa >"$R/a/f"
	[ "$1" != unlink ] || ln "$R/a/f" "$R/a/other"
	wait_until "[ -e '$M/a/f' ]"
	check in_repo a cat f >/dev/null
	check in_repo a perl -e '
		my ($real, $change) = @ARGV;
		open(my $f, "<", "f") or die "open: $!";
		my $first = "";
		sysread($f, $first, 5) == 5 && $first eq "aaaaa" or die "before: $first";
		open(my $w, "+<", $real) or die "open outside: $!";
		my $pid = fork();
		if (!$pid) { eval $change; exit($@ ? 1 : 0) }
		select(undef, undef, undef, 0.1);
		syswrite($w, "bbbbb") == 5 or die "write outside: $!";
		close($w);
		waitpid($pid, 0);
		$? == 0 or die "the change failed";
		my $text = "";
		for (1 .. 250) {
			sysseek($f, 0, 0);
			sysread($f, $text, 5);
			last if $text eq "bbbbb";
			select(undef, undef, undef, 0.02);
		}
		$text eq "bbbbb" or die "after: $text";
	' "$R/a/f" "$2"
	rm -f "$R/a/f" "$R/a/g" "$R/a/other"
	wait_until "! [ -e '$M/a/f' ] && ! [ -e '$M/a/g' ]"
}
during rename 'rename("f", "g") or die'
during link 'link("f", "g") or die'
during unlink 'unlink("other") or die'
kill "$tracer"
wait "$tracer" || true
[ "$(grep -c DELAYED "$T/trace")" -ge 3 ] || die "not delayed: $(cat "$T/trace")"
stop_mount
