"""A system call of the gateway, or of the mount's server, fails: the caller has the errno, nothing is half done, the
audit says so, and the same call works a moment later. Run by failing_calls.sh.

usage: inject.py MOUNT REPOSITORIES STATE_DIR MOUNT_PID
"""
import errno, json, os, signal, stat, subprocess, sys, time

M, R, STATE, SERVER = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
OLD, NEW = b"0123456789" * 100, b"N" * 3000
LARGE = OLD * 100 # more than a piece of undo/


def put(path, data=OLD):
    with open(path, "wb") as f:
        f.write(data)


def opened(path, flags, call):
    fd = os.open(path, flags)
    try:
        call(fd)
    finally:
        os.close(fd)


# name: (before, the call)
OPS = {
    "write": (lambda d: put(d + "/f"), lambda d: opened(d + "/f", os.O_WRONLY, lambda fd: os.pwrite(fd, NEW, 100))),
    "append": (lambda d: put(d + "/f"), lambda d: opened(d + "/f", os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, NEW))),
    "truncate": (lambda d: put(d + "/f"), lambda d: os.truncate(d + "/f", 3)),
    "fallocate": (lambda d: put(d + "/f"), lambda d: opened(d + "/f", os.O_WRONLY, lambda fd: os.posix_fallocate(fd, 0, 5000))),
    "fsync": (lambda d: put(d + "/f"), lambda d: opened(d + "/f", os.O_WRONLY, os.fsync)),
    "create": (lambda d: None, lambda d: os.close(os.open(d + "/f", os.O_WRONLY | os.O_CREAT | os.O_EXCL))),
    "rename": (lambda d: (put(d + "/f"), put(d + "/g", b"g")), lambda d: os.rename(d + "/f", d + "/g")),
    "unlink": (lambda d: put(d + "/f"), lambda d: os.unlink(d + "/f")),
    "write_large": (lambda d: put(d + "/f", LARGE), lambda d: opened(d + "/f", os.O_WRONLY, lambda fd: os.pwrite(fd, NEW, 100))),
    "truncate_large": (lambda d: put(d + "/f", LARGE), lambda d: os.truncate(d + "/f", 3)),
    "unlink_large": (lambda d: put(d + "/f", LARGE), lambda d: os.unlink(d + "/f")),
    "rmdir": (lambda d: os.mkdir(d + "/d"), lambda d: os.rmdir(d + "/d")),
    "mkdir": (lambda d: None, lambda d: os.mkdir(d + "/d")),
    "mknod": (lambda d: None, lambda d: os.mkfifo(d + "/p")),
    "link": (lambda d: put(d + "/f"), lambda d: os.link(d + "/f", d + "/g")),
    "symlink": (lambda d: None, lambda d: os.symlink("there", d + "/s")),
    "chmod": (lambda d: put(d + "/f"), lambda d: os.chmod(d + "/f", 0o600)),
    "utimens": (lambda d: put(d + "/f"), lambda d: os.utime(d + "/f", (1, 2))),
    "copy": (lambda d: (put(d + "/f"), put(d + "/g", b"g")),
             lambda d: opened(d + "/f", os.O_RDONLY, lambda a: opened(d + "/g", os.O_WRONLY,
                                                                     lambda b: os.copy_file_range(a, b, 1000)))),
}
# Of the gateway: what fails, how, at which time of such a call, in which operation. DONE: it does not fail for the caller.
DONE = None
GATEWAY = [
    # The first one is of what is kept for undo.
    ("pwrite64", "EIO", 2, "write"), ("pwrite64", "ENOSPC", 2, "write"), ("pwrite64", "EDQUOT", 2, "write"),
    ("openat2", "EIO", 1, "write"), ("openat2", "EMFILE", 1, "write"), ("openat2", "ENOMEM", 1, "truncate"),
    ("openat2", "ENFILE", 1, "rename"), ("pwritev2", "EIO", 1, "append"), ("ftruncate", "EIO", 1, "truncate"),
    ("ftruncate", "EROFS", 1, "truncate"), ("fallocate", "ENOSPC", 1, "fallocate"),
    ("openat", "EIO", 1, "create"), ("openat", "EDQUOT", 1, "create"), ("openat", "EROFS", 1, "create"),
    ("renameat", "EIO", 1, "rename"), ("renameat", "EDQUOT", 1, "rename"), ("unlinkat", "EIO", 1, "unlink"),
    ("unlinkat", "EROFS", 1, "rmdir"), ("mkdirat", "ENOSPC", 1, "mkdir"), ("mkdirat", "EDQUOT", 1, "mkdir"),
    ("mknodat", "EIO", 1, "mknod"), ("linkat", "EMLINK", 1, "link"), ("symlinkat", "EIO", 1, "symlink"),
    ("chmod", "EIO", 1, "chmod"), ("utimensat", "EIO", 1, "utimens"),
    # It cannot be kept for undo: the record says so.
    ("copy_file_range", "EIO", 1, "write_large", "undo"), ("copy_file_range", "ENOSPC", "1+", "truncate_large", "undo"),
    ("renameat", "EIO", 1, "unlink_large", "undo"), ("pwrite64", "EIO", 1, "unlink", "undo"),
    ("pread64", "EIO", 1, "write", "undo"),
    # The record cannot be written: it is kept, and written later.
    ("pwrite64", "EIO", 2, "rename", "record"), ("pwrite64", "ENOSPC", 2, "unlink", "record"),
]
HOME = [
    ("pwritev2", "EIO", 1, "write"), ("pwritev2", "ENOSPC", 1, "append"), ("pwritev2", "EDQUOT", 1, "write"),
    ("ftruncate", "EIO", 1, "truncate"), ("fallocate", "ENOSPC", 1, "fallocate"), ("fsync", "EIO", 1, "fsync"),
    ("renameat", "EROFS", 1, "rename"), ("unlinkat", "EIO", 1, "unlink"),
    ("unlinkat", "EIO", 1, "rmdir"), ("mkdirat", "ENOSPC", 1, "mkdir"), ("mknodat", "EIO", 1, "mknod"),
    ("linkat", "EMLINK", 1, "link"), ("symlinkat", "EIO", 1, "symlink"), ("chmod", "EIO", 1, "chmod"),
    ("utimensat", "EIO", 1, "utimens"), ("copy_file_range", "EIO", 1, "copy"),
]


def tree(d):
    found = {}
    for name in sorted(os.listdir(d)):
        st = os.lstat(f"{d}/{name}")
        content = None
        if stat.S_ISREG(st.st_mode):
            with open(f"{d}/{name}", "rb") as f:
                content = f.read()
        found[name] = (st.st_mode, st.st_nlink, content, st.st_mtime_ns)
    return found


def call(home, op, d):
    """In a process of its own, at home in b or in a: the name of its errno, or "ok"."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "nothing"
        try:
            os.setsid()
            os.chdir(f"{M}/{'b' if home else 'a'}")
            OPS[op][1](f"{M}/b/{d}")
            said = "ok"
        except OSError as e:
            said = errno.errorcode.get(e.errno, str(e))
        finally:
            os.write(w, said.encode())
            os._exit(0)
    os.close(w)
    said = os.read(r, 100).decode()
    os.close(r)
    os.waitpid(pid, 0)
    return said


def traced(pid, by):
    """Whether all of its threads are."""
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/status") as f:
                tracer = next(line for line in f if line.startswith("TracerPid"))
        except (FileNotFoundError, ProcessLookupError): # it has ended since
            continue
        if int(tracer.split()[1]) != by:
            return False
    return True


def until(what, condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"not so after 60 s: {what}"
        time.sleep(0.005)


def failing(pid, syscall, error, when, act):
    """act() while that call of pid fails; whether it was made at all."""
    log = f"{os.environ['TMPDIR']}/strace"
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", log, "-e", f"trace={syscall}",
                               "-e", f"inject={syscall}:error={error}:when={when}", "-p", str(pid)])
    try:
        until("strace has attached", lambda: tracer.poll() is None and traced(pid, tracer.pid))
        said = act()
    finally:
        tracer.send_signal(signal.SIGTERM)
        tracer.wait()
    with open(log) as f:
        return said, "INJECTED" in f.read()


def audit():
    with open(f"{STATE}/audit.jsonl") as f:
        return [json.loads(line) for line in f]


def gateway():
    with open(f"{STATE}/registry.json") as f:
        return json.load(f)["pid"]


def one(n, home, syscall, error, when, op, effect=""):
    d = f"d{n}"
    os.mkdir(f"{R}/b/{d}")
    os.mkdir(f"{R}/b/q{n}")
    OPS[op][0](f"{R}/b/{d}")
    before = tree(f"{R}/b/{d}")
    # What came before it is recorded with this, so that the next call is that of op.
    assert call(False, "mkdir", f"q{n}") == "ok"
    said, injected = failing(SERVER if home else gateway(), syscall, error, when, lambda: call(home, op, d))
    now = tree(f"{R}/b/{d}")
    assert injected, f"nobody made that call; the answer was {said}"
    if effect:
        assert said == "ok", f"the answer was {said}"
        assert now != before, "nothing was done"
        return
    assert said == error, f"the answer was {said}"
    assert now == before, f"the tree was {before} and is {now}"
    said = call(home, op, d)
    assert said == "ok", f"the same once more: {said}"


def records(n, syscall, error, when, op, effect=""):
    """What the audit says, when all is written."""
    mine = [(r["result"], (r["undo"] or {}).get("why")) for r in audit() if r["path"].startswith(f"d{n}/")]
    results = [r for r, why in mine]
    if effect == "undo":
        assert results == ["ok"] and error in mine[0][1], mine
    elif effect == "record":
        assert results == ["ok"], mine
    else:
        assert results[:2] == [error, "ok"], mine


def main():
    bad = 0
    table = [(False, c) for c in GATEWAY] + [(True, c) for c in HOME]
    assert call(False, "mkdir", "") == "ok" # the backend is there
    for step in "calls", "records":
        if step == "records":
            subprocess.run(["rrm", "stop", "b"], check=True, stdout=subprocess.DEVNULL)
        for n, (home, c) in enumerate(table):
            try:
                if step == "calls":
                    one(n, home, *c)
                elif not home:
                    records(n, *c)
            except AssertionError as e:
                bad += 1
                print(f"not ok {'home' if home else 'gateway'} {' '.join(map(str, c))}: {e}", flush=True)
    print(f"{len(table)} failing calls")
    return 1 if bad else 0


sys.exit(main())
