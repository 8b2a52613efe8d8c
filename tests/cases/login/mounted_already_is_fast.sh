#!/bin/sh
# rrm-mount where it serves already is for the profile of a shell: few system calls, no other process, no server. And
# READY reaches a service manager, once it serves and not before; nothing else learns of that socket.
. "${0%/*}/../lib.sh"
make_repo a
cat >"$T/x/listen.py" <<'END'
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(60)
open(sys.argv[2], "w").close()
while True:
    text = s.recv(4096).decode()
    print(text, flush=True)
    if "READY=1" in text:
        print("served" if os.path.exists(sys.argv[3]) else "too early", flush=True)
        break
END
python3 "$T/x/listen.py" "$T/x/sock" "$T/x/listens" "$M/a/README.md" >"$T/x/notified" &
listener=$!
wait_until '[ -e "$T/x/listens" ]'
NOTIFY_SOCKET=$T/x/sock start_mount
check wait "$listener"
eq "$(tail -n 1 "$T/x/notified")" served 'at READY'

export ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"
check strace -f -o "$T/x/trace" timeout 30 rrm-mount "$M"
! grep -E '(clone|fork|clone3|vfork)\(' "$T/x/trace" | sed 1d | grep . || die 'it made a process'
sed -n '/execve.*rrm-mount/,$p' "$T/x/trace" >"$T/x/own"
! grep -E 'mount\(|connect\(|/dev/fuse' "$T/x/own" || die 'it did more than to look'
# From its first own one on: those of the loader and of a sanitizer are not its.
calls=$(sed -n '/rrm\/config\.json/,$p' "$T/x/own" | wc -l)
{ [ "$calls" -gt 5 ] && [ "$calls" -lt 150 ]; } || die "$calls system calls"
stop_mount
