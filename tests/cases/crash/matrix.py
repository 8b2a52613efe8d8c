"""The kill matrix: kill -9 of the writer, the mount's server, the whole mount (its guard, too), the gateway, the
backend, or all of them, at every step between a call and its reply, and what must be true afterwards. Run by matrix.sh and matrix_opencode.sh, with
programs that stop at named points (manager/base/stop_point.h; docs/ARCHITECTURE.md says where the points are).

A cell is one call: a point, whom to kill there, an operation. A worker has a mount and repositories of its own, and does
its cells one after the other, each in a directory of its own in repository b. After all of them the backend is stopped, so
that everything is recorded, and started again, so that what could still come has come.

usage: matrix.py DIR BACKEND WORKERS short|full [POINT/VICTIM/OPERATION as a regular expression]
"""
import errno, glob, json, os, re, select, shutil, signal, stat, subprocess, sys, time, traceback

BASE, BACKEND, WORKERS, LENGTH = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
ONLY = re.compile(sys.argv[5] if len(sys.argv) > 5 and sys.argv[5] else ".")
BOUND_S = 30 + 90 + 30  # lock_timeout_ms, start_timeout_ms, and a machine that has other work

# When only its server is killed the mount goes on, and nobody notices; without its guard it is dead, and its callers get
# one of these.
MOUNT_GONE = {"ENOTCONN", "ECONNABORTED"}

MOUNT_POINTS = ["mount-received", "identity-known", "turn-asked", "turn-taken", "epoch-written", "request-sent",
                "answer-received", "change-done", "before-reply", "turn-release"]
GATEWAY_POINTS = ["gateway-received", "undo-kept", "inflight-noted", "half-applied", "applied", "applied-noted",
                  "answer-kept", "record-appended", "record-pending", "gateway-answers"]
HOME_POINTS = ["mount-received", "identity-known", "home-granted", "home-half", "change-done", "before-reply",
               "turn-release"]
# A gateway that is killed, and its successor, too, where it takes up what the first one left.
TWICE = [("half-applied", "half-applied"), ("applied", "applied-noted"), ("applied", "answer-kept"),
         ("applied", "record-pending"), ("inflight-noted", "undo-kept"), ("inflight-noted", "applied"),
         ("undo-kept", "inflight-noted"), ("applied-noted", "gateway-received"), ("answer-kept", "gateway-answers"),
         ("applied", "interrupted-judged")]

# The same of a writer that has the turn, and whose gateway is known: its request is sent without waking a thread.
WARM_POINTS = ["turn-asked", "turn-taken", "epoch-written", "request-sent", "gateway-received", "applied",
               "gateway-answers", "answer-received"]

# Within one page: of a longer one the kernel makes several changes.
NEW = b"N" * 3000
OLD = b"0123456789" * 100


def put(path, data=OLD):
    with open(path, "wb") as f:
        f.write(data)


def write_at(path, flags, data, offset=None):
    fd = os.open(path, flags)
    n = os.write(fd, data) if offset is None else os.pwrite(fd, data, offset)
    if n != len(data):
        raise OSError(errno.EIO, f"{n} bytes of {len(data)}")
    os.close(fd)


# name: (before, the call, how the audit calls it)
OPS = {
    "write": (lambda d: put(d + "/f"), lambda d: write_at(d + "/f", os.O_WRONLY, NEW, 100), "write"),
    "append": (lambda d: put(d + "/f"), lambda d: write_at(d + "/f", os.O_WRONLY | os.O_APPEND, NEW), "write"),
    "create": (lambda d: None, lambda d: os.close(os.open(d + "/f", os.O_WRONLY | os.O_CREAT | os.O_EXCL)), "create"),
    "rename": (lambda d: (put(d + "/f"), put(d + "/g", b"g")), lambda d: os.rename(d + "/f", d + "/g"), "rename"),
    "unlink": (lambda d: put(d + "/f"), lambda d: os.unlink(d + "/f"), "unlink"),
    "mkdir": (lambda d: None, lambda d: os.mkdir(d + "/d"), "mkdir"),
    "truncate": (lambda d: put(d + "/f"), lambda d: os.truncate(d + "/f", 3), "write"),
    "rmdir": (lambda d: os.mkdir(d + "/d"), lambda d: os.rmdir(d + "/d"), "rmdir"),
    "link": (lambda d: put(d + "/f"), lambda d: os.link(d + "/f", d + "/g"), "link"),
    "symlink": (lambda d: None, lambda d: os.symlink("there", d + "/s"), "symlink"),
    "mknod": (lambda d: None, lambda d: os.mkfifo(d + "/p"), "mknod"),
    "chmod": (lambda d: put(d + "/f"), lambda d: os.chmod(d + "/f", 0o600), "chmod"),
}
MOST = ["write", "append", "create", "rename", "unlink", "mkdir", "truncate"]


class Cell:
    def __init__(self, point, victim, op, home=False, again=None, warm=False):
        self.point, self.victim, self.op, self.home, self.again, self.warm = point, victim, op, home, again, warm
        self.name = f"{point}/{victim}/{op}" + ("/home" if home else "") + (f"/again-at-{again}" if again else "") + \
            ("/warm" if warm else "")
        self.answer = self.state = self.before = self.seen = None

    def kills(self, what):
        return self.victim in (what, "all") or (what == "gateway" and self.victim == "backend")


def fits(point, op):
    if point in ("half-applied", "home-half"):
        return op in ("write", "append")
    return True


def cells():
    """Every point with every victim; short leaves out some operations, and has only one, another one each time, of
    those that wait for a start of OpenCode."""
    victims = ["writer", "server", "mount", "backend", "all"] + (["gateway"] if BACKEND == "opencode" else [])
    turn = 0
    for home, points in ((False, MOUNT_POINTS + GATEWAY_POINTS), (True, HOME_POINTS)):
        for point in points:
            for victim in (["writer", "server", "mount"] if home else victims):
                ops = [o for o in (OPS if LENGTH == "full" else MOST) if fits(point, o)]
                if LENGTH != "full" and BACKEND == "opencode":
                    ops = [ops[turn % len(ops)]]
                    turn += 1
                for op in ops:
                    yield Cell(point, victim, op, home)
    for point in WARM_POINTS if BACKEND == "embedded" else []:
        for victim in victims:
            for op in OPS if LENGTH == "full" else ["write", "append", "mkdir"]:
                yield Cell(point, victim, op, warm=True)
    for first, again in TWICE:
        for op in OPS if LENGTH == "full" else ["append", "create", "rename"]:
            if fits(first, op) and fits(again, op):
                yield Cell(first, "backend", op, again=again)


def alive(pid):
    """Whether a thread of it is left: the first one may be gone before the others are."""
    for path in glob.glob(f"/proc/{pid}/task/*/stat"):
        try:
            with open(path) as f:
                if f.read().rsplit(")", 1)[1].split()[0] not in "ZX":
                    return True
        except OSError:
            pass
    return False


def stopped(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "tT"
    except OSError:
        return True


def kill(pid, sig=signal.SIGKILL):
    try:
        if pid:
            os.kill(pid, sig)
    except ProcessLookupError:
        pass


def until(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not so after {seconds} s: {what}")
        time.sleep(0.003)


def tree(d):
    """What is in a directory of the real tree: {name: (kind, mode, links, content)}."""
    found = {}
    for name in sorted(os.listdir(d)):
        path = f"{d}/{name}"
        st = os.lstat(path)
        content = None
        if stat.S_ISREG(st.st_mode):
            with open(path, "rb") as f:
                content = f.read()
        elif stat.S_ISLNK(st.st_mode):
            content = os.readlink(path).encode()
        found[name] = (stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), 0 if content is None else st.st_nlink, content)
    return found


class Worker:
    def __init__(self, number):
        self.base = f"{BASE}/w{number}"
        self.r, self.m, self.s, self.stop = (f"{self.base}/{x}" for x in ("r", "m", "s", "p"))
        for d in (self.r, self.m, self.stop, f"{self.base}/h/.config/rrm", f"{self.base}/t", f"{self.base}/sh"):
            os.makedirs(d)
        home = f"{self.base}/h"
        os.environ.update(RRM_HOME=self.s, HOME=home, TMPDIR=f"{self.base}/t", RRM_STOP_DIR=self.stop,
                          XDG_CONFIG_HOME=f"{home}/.config", XDG_DATA_HOME=f"{home}/.local/share",
                          XDG_CACHE_HOME=f"{home}/.cache", XDG_STATE_HOME=f"{home}/.local/state")
        config = {"backend": BACKEND, "start_timeout_ms": 90000, "lock_timeout_ms": 30000}
        if BACKEND == "opencode":
            config["opencode_command"] = os.environ["RRM_OPENCODE"]
        put(f"{home}/.config/rrm/config.json", json.dumps(config).encode())
        for name in "ab":
            self.run("git", "init", "-q", "-b", "main", f"{self.r}/{name}")
            self.run("rrm", "add", "--name", name, f"{self.r}/{name}")
        ids = json.loads(self.run("rrm", "list", "--json"))
        self.state_dir = f"{self.s}/repos/" + next(i["repo_id"] for i in ids if i["name"] == "b")
        self.count = 0

    def run(self, *args):
        with open(f"{self.base}/sh/log", "ab") as log:
            log.write(b"+ " + " ".join(args).encode() + b"\n")
            done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=200)
            log.write(done.stderr)
        if done.returncode:
            raise AssertionError(f"{' '.join(args)}: status {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode()

    # ---- who is who ----

    def server(self, key="server"):
        """The mount's server or ("pid") its guard, None when there is none."""
        try:
            with open(f"{self.s}/mount.json") as f:
                pid = json.load(f)[key]
        except (OSError, ValueError, KeyError):
            return None
        return pid if alive(pid) else None

    def backend(self):
        try:
            with open(f"{self.state_dir}/registry.json") as f:
                got = json.load(f)
        except (OSError, ValueError):
            return None
        return got["pid"] if got["state"] == "ready" and alive(got["pid"]) else None

    def gateway(self):
        wanted = os.fsencode(self.state_dir)
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as f:
                    args = f.read().split(b"\0")
            except OSError:
                continue
            if args[0].endswith(b"rrm-backend") and wanted in args and alive(int(path.split("/")[2])):
                return int(path.split("/")[2])
        return None

    def ready(self):
        if not self.server("pid"):
            self.run("rrm-mount", self.m)
        if not (self.backend() and self.gateway()):
            self.run("rrm", "ensure", "b")

    # ---- one cell ----

    def writer(self, cell, directory):
        """A process that makes the call: its pid, and a pipe with its answer."""
        r, w = os.pipe()
        pid = os.fork()
        if pid:
            os.close(w)
            return pid, r
        said = "nothing"
        try:
            os.setsid()
            os.chdir(f"{self.m}/{'b' if cell.home else 'a'}")
            if cell.warm:
                os.mkdir(f"{self.m}/b/w{self.count}")
                os.rmdir(f"{self.m}/b/w{self.count}")
                self.arm(cell.point)
            OPS[cell.op][1](f"{self.m}/b/{directory}")
            said = "ok"
        except OSError as e:
            said = errno.errorcode.get(e.errno, str(e))
        finally:
            os.write(w, said.encode())
            os._exit(0)

    def arm(self, point):
        for left in os.listdir(self.stop):
            os.unlink(f"{self.stop}/{left}")
        if point:
            put(f"{self.stop}/{point}", b"")

    def come_to(self, point):
        """Who has stopped at the point."""
        def there():
            found = glob.glob(f"{self.stop}/{point}.*")
            return int(found[0].rsplit(".", 1)[1]) if found else None
        pid = until(f"somebody comes to {point}", there, 120 if BACKEND == "opencode" else 60)
        until("it stops", lambda: stopped(pid))
        return pid

    def strike(self, cell, at, writer):
        """Kills, and lets go on who was stopped and lives."""
        server, guard, backend, gateway = self.server(), self.server("pid"), self.backend(), self.gateway()
        if cell.kills("gateway") or cell.kills("backend"):
            kill(gateway)
            if cell.point in GATEWAY_POINTS:
                kill(at)
        if cell.kills("backend"):
            kill(backend)
        if cell.kills("mount"):
            kill(guard, signal.SIGSTOP)  # neither may do what it does when the other one dies
            kill(server)
            kill(guard)
        elif cell.kills("server"):
            kill(server)
        if cell.kills("writer"):
            kill(writer)
        if cell.kills("mount"):
            until("the server is gone", lambda: not alive(server) and not alive(guard))
        kill(at, signal.SIGCONT)

    def one(self, cell):
        self.ready()
        self.count += 1
        directory = f"c{self.count}"
        cell.where = f"{self.r}/b/{directory}"
        cell.directory = directory
        os.mkdir(cell.where)
        OPS[cell.op][0](cell.where)
        cell.before = tree(cell.where)
        self.arm(None if cell.warm else cell.point)
        begun = time.monotonic()
        pid, answer = self.writer(cell, directory)
        try:
            at = self.come_to(cell.point)
            self.arm(cell.again)
            self.strike(cell, at, pid)
            if cell.again:
                at = self.come_to(cell.again)
                self.strike(cell, at, pid)
            if not select.select([answer], [], [], BOUND_S)[0]:
                raise AssertionError(f"the writer has no answer after {BOUND_S} s")
            cell.answer = os.read(answer, 100).decode() or None
        finally:
            self.arm(None)
            os.close(answer)
            kill(pid)
            os.waitpid(pid, 0)
        cell.took = time.monotonic() - begun
        if cell.victim in ("writer", "server", "mount"):
            self.settled(cell)
        cell.seen = tree(cell.where)
        self.judge(cell)

    def settled(self, cell):
        """The change of a killed writer is at its end: the next one to the same repository comes after it."""
        self.ready()
        probe = Cell(cell.point, "none", "create", cell.home)
        self.count += 1
        directory = f"p{self.count}"
        os.mkdir(f"{self.r}/b/{directory}")
        pid, answer = self.writer(probe, directory)
        said = os.read(answer, 100).decode() if select.select([answer], [], [], BOUND_S)[0] else "nothing"
        os.close(answer)
        kill(pid)
        os.waitpid(pid, 0)
        if said != "ok":
            raise AssertionError(f"the next writer's answer is {said}")

    # ---- what must be true ----

    def judge(self, cell):
        expected = f"{self.base}/sh/expected"
        shutil.rmtree(expected, ignore_errors=True)
        os.mkdir(expected)
        OPS[cell.op][0](expected)
        OPS[cell.op][1](expected)
        after = tree(expected)
        if cell.seen == after:
            cell.state = "after"
        elif cell.seen == cell.before:
            cell.state = "before"
        elif cell.point in ("half-applied", "home-half"):
            cell.state = "half"
        else:
            raise AssertionError(f"the tree is neither as before nor as after: {show(cell.seen)}")
        undisturbed = not cell.kills("writer") and not cell.kills("mount")
        # The point itself makes the append a short one, as a full disk would; the gateway that lives says so.
        if (cell.point, cell.victim, cell.op, cell.answer) == ("half-applied", "server", "append", "EIO"):
            if cell.state != "half":
                raise AssertionError(f"the append was short, and the tree is as {cell.state}")
            return
        if undisturbed and cell.answer != "ok":
            raise AssertionError(f"the call was answered {cell.answer}; it must have been done, once")
        if cell.answer == "ok" and cell.state != "after":
            raise AssertionError(f"the call was answered ok, and the tree is as {cell.state}")
        if cell.answer not in ({None, "ok"} | MOUNT_GONE):
            raise AssertionError(f"the call was answered {cell.answer}")
        # Only what dies while it writes leaves a half, when nobody is left who would ask again. Half an append that
        # goes on is a short one: the rest of it could come after what others append.
        may_be_half = cell.victim == "all" or (cell.home and cell.victim == "mount") or \
            (cell.op == "append" and not undisturbed)
        if cell.state == "half" and not may_be_half:
            raise AssertionError(f"half of it was done: {show(cell.seen)}")
        if cell.point == "gateway-received" and cell.victim == "mount" and cell.state != "before":
            raise AssertionError("it was done although nobody waited for it any more")

    def records(self, cell, audit):
        mine = [r for r in audit if r["path"].startswith(cell.directory + "/") and r["op"] == OPS[cell.op][2]]
        results = [r["result"] for r in mine]
        if cell.home:
            wanted = not mine
        elif cell.state == "before":
            wanted = len(mine) <= 1 and "ok" not in results
        elif cell.answer == "ok":
            wanted = results == ["ok"]
        else:
            wanted = results in (["ok"], ["interrupted"])
        if not wanted:
            raise AssertionError(f"the tree is as {cell.state}, the answer was {cell.answer}, and the audit has "
                                 f"{[(r['seq'], r['op'], r['result'], r['message']) for r in mine]}")

    def finish(self, done):
        """Everything is recorded, and nothing comes later."""
        self.run("rrm", "stop", "b")
        self.ready()
        probe = Cell("end", "none", "create")
        self.settled(probe)
        self.run("rrm", "stop", "b")
        self.run("rrm", "log", "b", "--verify")
        audit = []
        for path in glob.glob(f"{self.state_dir}/audit*.jsonl"):
            with open(path) as f:
                audit += [json.loads(line) for line in f]
        bad = 0
        for cell in done:
            try:
                now = tree(cell.where)
                if now != cell.seen:
                    raise AssertionError(f"something came later: {show(cell.seen)} became {show(now)}")
                self.records(cell, audit)
            except AssertionError as e:
                print(f"not ok {cell.name}: {e}", flush=True)
                bad += 1
        return bad

    def close(self):
        self.arm(None)
        for command in (["rrm-mount", "-u", self.m], ["rrm", "stop", "--all"]):
            try:
                self.run(*command)
            except (AssertionError, subprocess.TimeoutExpired) as e:
                print(f"at the end: {e}", flush=True)


def show(found):
    return {n: (oct(k), oct(m), l, c if c is None or len(c) < 40 else f"{len(c)} bytes") for n, (k, m, l, c) in found.items()}


def work(number, mine):
    worker = Worker(number)
    bad, done = 0, []
    try:
        for cell in mine:
            try:
                worker.one(cell)
                done.append(cell)
                if os.environ.get("RRM_MATRIX_SHOW"):
                    print(f"ok {cell.name}: {cell.answer}, {cell.state}, {cell.took:.1f} s", flush=True)
            except (AssertionError, OSError, subprocess.TimeoutExpired) as e:
                print(f"not ok {cell.name} ({getattr(cell, 'directory', '')}, answer {cell.answer}): {e}", flush=True)
                if not isinstance(e, AssertionError):
                    traceback.print_exc()
                bad += 1
        bad += worker.finish(done)
    finally:
        worker.close()
    return bad


def main():
    todo = [c for c in cells() if ONLY.search(c.name)]
    workers = []
    for n in range(min(WORKERS, len(todo))):
        pid = os.fork()
        if pid == 0:
            status = 2
            try:
                status = 1 if work(n, todo[n::WORKERS]) else 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        workers.append(pid)
    worst = max([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers], default=2)
    print(f"{len(todo)} cells, backend {BACKEND}")
    return worst


sys.exit(main())
