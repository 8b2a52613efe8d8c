"""64 writers in 16 repositories for a while, and what must be true afterwards. Run by turn_stress.sh.

Each writer is a session: at home in one repository, half of what it writes goes to others. What it does:
  append   one block to <repo>/d/log, a single write(2): whole or not at all, in the writer's order
  locked   `rrm lock --all <repo>` around several changes to <repo>/d/locked: nothing of others between the first and
           the last (all branches: HEAD moves meanwhile)
  routed   `rrm write`, a whole file
What was acknowledged is noted outside of the mount, with the times of its begin and end, so a writer that is killed leaves
a true account.
"""
import errno, json, os, random, resource, signal, subprocess, sys, time
from collections import Counter

mount, real, state, tmp, seconds, slow = sys.argv[1:5] + [float(sys.argv[5]), float(sys.argv[6])]
REPOS = [f"r{i:02}" for i in range(16)]
WRITERS = 64
SHORT = "short write"
LOCK_S, START_S = 30, 60  # lock_timeout_ms, start_timeout_ms
BOUND_S = LOCK_S + START_S + 15 * slow  # and a machine that has other work
end = 0.0


def note(file, text):
    os.write(file, (text + "\n").encode())


def append(me, n, repo):
    body = (b"%d" % (n % 10)) * random.choice([1, 60, 4000, 30000])
    block = b"<%s %d %d\n" % (me.encode(), n, len(body)) + body + b">\n"
    fd = os.open(f"{mount}/{repo}/d/log", os.O_WRONLY | os.O_APPEND)
    try:
        if os.write(fd, block) != len(block):
            raise OSError(errno.EIO, SHORT)
    finally:
        os.close(fd)


# Opens without O_CREAT, as append() does: see turn_stress.sh.
LOCKED = """use Fcntl; my ($me, $file) = @ARGV;
for my $w ("S", "M", "E") { my $f; sysopen($f, $file, O_WRONLY | O_APPEND) && syswrite($f, "$w $me\\n") && close $f or die $!;
select(undef, undef, undef, 0.01) }"""


def locked(me, n, repo):
    done = subprocess.run(["rrm", "lock", "--all", repo, "--", "perl", "-e", LOCKED, f"{me}-{n}", f"{mount}/{repo}/d/locked"],
                          capture_output=True, text=True)
    if done.returncode:
        raise OSError(1000 + done.returncode, done.stderr)


def routed(me, n, repo):
    text = f"{me} {n}\n" * 500
    done = subprocess.run(["rrm", "write", f"{repo}/d/routed"], input=text, capture_output=True, text=True)
    if done.returncode:
        raise OSError(1000 + done.returncode, done.stderr)


def writer(number, life):
    me = f"w{number}.{life}"
    os.setsid()
    home = REPOS[number % 16]
    os.chdir(f"{mount}/{home}")
    random.seed(number * 1000 + life)
    account = os.open(f"{tmp}/account/{me}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    do = routed if number % 16 == 3 else locked if number % 8 == 5 else append
    n = 0
    while time.time() < end:
        n += 1
        repo = home if random.random() < 0.5 else random.choice(REPOS)
        note(account, f"try {do.__name__} {n} {repo} {time.monotonic():.6f}")
        try:
            do(me, n, repo)
            note(account, f"ok {do.__name__} {n} {repo} {time.monotonic():.6f}")
        except OSError as e:
            note(account, f"error {do.__name__} {n} {repo} {time.monotonic():.6f} {e.errno} {str(e.strerror)[:300]!r}")
        time.sleep(random.choice([0, 0.001, 0.02, 0.1]))


def switcher():
    os.setsid()
    while time.time() < end:
        repo = random.choice(REPOS)
        for branch in ("other", "main"):
            subprocess.run(["git", "checkout", "-q", branch], cwd=f"{mount}/{repo}", capture_output=True)
            time.sleep(0.3)


def reader(out, until):
    """Reads what the kernel knows already, in the mount and in the real tree by turns: who else wants the processors is the
    same for both."""
    os.setsid()
    took, waits = {mount: [], real: []}, {mount: 0, real: 0}
    while time.time() < until():
        for repo in REPOS:
            for tree in (mount, real):
                waited = switches()
                begun = time.monotonic_ns()
                fd = os.open(f"{tree}/{repo}/src/main.c", os.O_RDONLY)  # open() asks the mount whether it is a tty
                os.read(fd, 65536)
                os.close(fd)
                took[tree].append((time.monotonic_ns() - begun) // 1000)
                waits[tree] += switches() - waited
        time.sleep(0.002)
    with open(out, "w") as f:
        json.dump({k: spread(sorted(took[v]), waits[v]) for k, v in (("mount", mount), ("real", real))}, f)


def switches():
    """How often this process gave its processor up because it had to wait: for an answer, a lock, a disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def spread(v, waits):
    return {"n": len(v), "waits": waits, "p50": v[len(v) // 2], "p99": v[len(v) * 99 // 100], "max": v[-1]}


def start(what, *args):
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        what(*args)
        os._exit(0)
    except BaseException as e:
        os.write(2, f"{what.__name__}{args[:1]}: {e!r}\n".encode())
        os._exit(1)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False


def kill_known(process):
    """(pid, start time) from a file, which may be of a process that is gone: its pid may be anybody's by now."""
    pid, start = process
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as f:
            if int(f.read().rsplit(")", 1)[1].split()[19]) != start:
                return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def holders():
    """Of explicit turns: some rrm lock."""
    try:
        with open(f"{state}/turns.json") as f:
            return [(c["pid"], int(c["start"])) for c in json.load(f) if not c["waits"]]
    except (OSError, ValueError):
        return []


def backends():
    try:
        with open(f"{state}/repos/{random.choice(os.listdir(state + '/repos'))}/registry.json") as f:
            j = json.load(f)
            return [(j["pid"], int(j["start_time"]))]
    except (OSError, ValueError, KeyError):
        return []


def rage(writers):
    """Kills until the end; a killed writer is replaced by another session."""
    killed = Counter()
    next_backend = time.time() + 3
    while time.time() < end:
        time.sleep(0.2)
        number = random.randrange(WRITERS)
        pid, life = writers[number]
        kill(pid)
        os.waitpid(pid, 0)
        killed["writers"] += 1
        writers[number] = (start(writer, number, life + 1), life + 1)
        if random.random() < 0.2:
            killed["holders"] += any(map(kill_known, random.sample(holders() or [(2**22, 0)], 1)))
        if time.time() > next_backend:
            killed["backends"] += any(map(kill_known, backends()))
            next_backend = time.time() + 4
    return killed


# ---- afterwards ----

# What may be said to a writer: EDEADLK, also by a command under rrm lock (perl's status is the errno) and by rrm write;
# of a command whose rrm lock was killed; of a killed rrm write.
# A write that the kernel split, whose later part got one of these, has a short count.
EXPECTED = {errno.EDEADLK, 1000 + errno.EDEADLK, 1137, 1000 - signal.SIGKILL}


class Change:
    """One try of a writer: when it began and ended (None: it was killed in it), and "ok", "error" or "?"."""

    def __init__(self, begun):
        self.begun, self.ended, self.fate = begun, None, "?"


def accounts():
    """{(kind, writer, n, repo): Change}, errors"""
    changes, errors = {}, Counter()
    for me in os.listdir(f"{tmp}/account"):
        with open(f"{tmp}/account/{me}") as f:
            for line in f:
                word = line.split(" ", 6)
                key = (word[1], me, int(word[2]), word[3])
                if word[0] == "try":
                    changes[key] = Change(float(word[4]))
                    continue
                changes[key].ended = float(word[4])
                changes[key].fate = word[0]
                if word[0] == "error":
                    errors[int(word[5])] += 1
                    if int(word[5]) not in EXPECTED and not any(t in word[6] for t in ("would never come", SHORT)):
                        bad(f"{me}: {line.strip()}")
    return changes, errors


faults = []


def bad(text):
    faults.append(text)
    print("FAILED:", text, file=sys.stderr)


def check_order(what, changes):
    """They stand in an order in which they may have happened: none stands behind one that began after its end."""
    earliest = (float("inf"), None)
    for key, c in reversed(changes):
        if c.begun > earliest[0]:
            bad(f"{what}: {key} stands before {earliest[1]}, which had ended when it began")
        if c.ended is not None and c.ended < earliest[0]:
            earliest = (c.ended, key)


def began(piece, repo, changes):
    """Whether it is the beginning of a first line, of a block whose writer was killed in it (the kernel may send one write
    in parts, at the end of a page) or got an error."""
    for k, c in changes.items():
        if k[0] == "append" and k[3] == repo and c.fate != "ok":
            words = b"<%s %d " % (k[1].encode(), k[2])  # what follows is the length
            if words.startswith(piece) or (piece.startswith(words) and piece[len(words):].isdigit()):
                return True
    return False


def blocks(repo, changes):
    """The log as [key]; every byte belongs to a whole block, or to one whose writer was killed in it or got an error."""
    data = open(f"{real}/{repo}/d/log", "rb").read()
    found, at = [], 0
    while at < len(data):
        head = data[at:data.find(b"\n", at)].split(b" ")
        key = None
        # A piece of a first line may end within its first word, with the next block behind it.
        if len(head) == 3 and data[at:at + 2] == b"<w" and head[0].count(b"<") == 1 and head[2].isdigit():
            n, length = int(head[1]), int(head[2])
            key = ("append", head[0][1:].decode(), n, repo)
            block = b" ".join(head) + b"\n" + (b"%d" % (n % 10)) * length + b">\n"
            if data.startswith(block, at) and key in changes:
                found.append(key)
                at += len(block)
                continue
        after = data.find(b"<w", at + 1)
        after = len(data) if after < 0 else after
        if not (began(data[at:after], repo, changes) if key is None else key in changes and changes[key].fate != "ok"):
            bad(f"{repo}/log: torn at byte {at} of {len(data)}, {after - at} bytes until the next: "
                f"{data[at:at + 40]!r}...{data[after - 20:after + 30]!r}")
        at = after
    return found


def check_log(repo, changes):
    found = blocks(repo, changes)
    for key, times in Counter(found).items():
        if times > 1:
            bad(f"{repo}/log: {key} is there {times} times")
        if changes[key].fate == "error":
            bad(f"{repo}/log: {key} is there, and its writer was told that it is not")
    there = set(found)
    for key, c in changes.items():
        if c.fate == "ok" and key[0] == "append" and key[3] == repo and key not in there:
            bad(f"{repo}/log: {key} was acknowledged and is not there")
    check_order(f"{repo}/log", [(key, changes[key]) for key in found])
    return len(found)


def check_locked(repo, changes):
    """What was done under one lock stands together, whole, and in an order in which it may have happened."""
    lines = [line.split() for line in open(f"{real}/{repo}/d/locked")]
    keys = {f"{k[1]}-{k[2]}": k for k in changes if k[0] == "locked" and k[3] == repo}
    order, at = [], 0
    while at < len(lines):
        me = lines[at][1]
        kinds = [line[0] for line in lines[at:at + 3] if line[1] == me]
        key = keys.get(me)
        if key is None or me in [k for k, _ in order]:
            bad(f"{repo}/locked: {lines[at]} is nobody's, or not with the others of it")
        elif kinds == ["S", "M", "E"]:
            order.append((me, changes[key]))
        elif changes[key].fate == "ok":
            bad(f"{repo}/locked: others within {me}: {lines[at:at + 3]}")
        at += 3 if kinds == ["S", "M", "E"] else 1
    whole = {me for me, _ in order}
    for me, key in keys.items():
        if changes[key].fate == "ok" and me not in whole:
            bad(f"{repo}/locked: {me} was acknowledged and is not there")
    check_order(f"{repo}/locked", order)
    return len(order)


def check_routed(repo, changes):
    """The file is what one of those wrote who may have been the last; a part of it when that one was killed."""
    try:
        text = open(f"{real}/{repo}/d/routed").read()
    except FileNotFoundError:
        text = ""
    mine = {k: c for k, c in changes.items() if k[0] == "routed" and k[3] == repo}
    latest = max((c.begun for c in mine.values() if c.fate == "ok"), default=0)
    for (_, me, n, _), c in mine.items():
        whole = f"{me} {n}\n" * 500
        if (c.ended is None or c.ended >= latest) and (text == whole or (c.fate != "ok" and whole.startswith(text))):
            return
    if text or latest:
        bad(f"{repo}/routed: of nobody who may have been the last: {len(text)} bytes, {sorted(set(text.splitlines()))[:3]}")


def check_audit(directory, longest):
    """Epochs never go back, and each is one session's: write sessions do not overlap. Sequence numbers have no gap."""
    files = [f for f in os.listdir(directory) if f.startswith("audit") and f.endswith(".jsonl")]
    records = [json.loads(line) for f in files for line in open(f"{directory}/{f}")]
    records.sort(key=lambda r: r["seq"])
    last, owner = 0, {}
    for i, r in enumerate(records):
        if r["seq"] != records[0]["seq"] + i:
            bad(f"{directory}: seq {r['seq']} follows {records[i - 1]['seq']}")
        longest[0] = max(longest[0], r["wait_us"] / 1e6)
        if r["result"] in ("refused", "interrupted"):
            continue
        if r["epoch"] < last:
            bad(f"{directory}: seq {r['seq']} has epoch {r['epoch']} after {last}")
        last = r["epoch"]
        if r["path"] == "d/locked":
            continue  # what a killed writer's rrm lock goes on to run is another session in the same turn
        who = (r["actor"]["home"], r["actor"]["session"])
        if owner.setdefault(r["epoch"], who) != who:
            bad(f"{directory}: epoch {r['epoch']} is of {owner[r['epoch']]} and of {who}")
    return len(records), len(owner)


def main():
    global end
    os.mkdir(f"{tmp}/account")
    quiet = time.time() + 3
    os.waitpid(start(reader, f"{tmp}/quiet.json", lambda: quiet), 0)
    end = time.time() + seconds
    writers = [(start(writer, i, 0), 0) for i in range(WRITERS)]
    others = [start(switcher), start(reader, f"{tmp}/busy.json", lambda: end)]
    killed = rage(writers)
    last = time.time() + BOUND_S
    for pid in [pid for pid, _ in writers] + others:
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.time() > last:
                bad(f"writer {pid} did not come to an end")
                kill(pid)
                last += 5
            time.sleep(0.02)
    with open(f"{tmp}/done", "w") as f:
        f.write(json.dumps(killed))


def times_of(changes, kind):
    return sorted(c.ended - c.begun for k, c in changes.items() if k[0] == kind and c.ended is not None)


def check():
    changes, errors = accounts()
    appended = sum(check_log(repo, changes) for repo in REPOS)
    sessions = sum(check_locked(repo, changes) for repo in REPOS)
    for repo in REPOS:
        check_routed(repo, changes)
    longest = [0.0]
    audits = [check_audit(f"{state}/repos/{d}", longest) for d in os.listdir(f"{state}/repos")]
    ok = sum(c.fate == "ok" for c in changes.values())
    print(f"{ok} of {len(changes)} changes acknowledged: {appended} blocks, {sessions} explicit turns; errors {dict(errors)}")
    print(f"killed {open(f'{tmp}/done').read()}; {sum(a for a, _ in audits)} audit records in {sum(t for _, t in audits)} turns")
    for kind in ("append", "locked", "routed"):
        t = times_of(changes, kind)
        print(f"{kind}: {len(t)} calls, average {sum(t) / len(t):.2f} s, p99 {t[len(t) * 99 // 100]:.2f} s, longest {t[-1]:.2f} s")
        if t[-1] > BOUND_S:
            bad(f"a call took {t[-1]:.1f} s")
    print(f"longest wait in the audit {longest[0]:.2f} s")
    if longest[0] > LOCK_S + START_S + slow:
        bad("a wait was longer than its bound")
    check_readers()
    if not sessions or appended < 100 or sum(t for _, t in audits) < 20:
        bad("next to nothing was done")
    if ok * 10 < len(changes) * 9:
        bad("more than a tenth of the changes failed")
    sys.exit(1 if faults else 0)


def check_readers():
    quiet, busy = (json.load(open(f"{tmp}/{n}.json")) for n in ("quiet", "busy"))
    for name, r in (("without writers", quiet), ("with writers", busy)):
        m, p = r["mount"], r["real"]
        print(f"reads {name}: {m['n']}, which waited {m['waits']} times in the mount, {p['waits']} in the real tree; p99 {m['p99']} us in the mount, {p['p99']} us in the real tree: x{m['p99'] / max(1, p['p99']):.2f};"
              f" longest {m['max']} us, {p['max']} us")
    # Who waits gives the processor up, whoever else has it; how long a read takes also depends on that. What waits here asks
    # what a switch of the branch or a new name has changed; what waits for a writer would be every read of that repo.
    if busy["mount"]["waits"] * 500 > busy["mount"]["n"]:
        bad("readers waited for more than one answer in 500 reads")
    if busy["mount"]["max"] > max(2e6 * slow, 3 * busy["real"]["max"]):
        bad("a reader waited")


if sys.argv[7] == "run":
    main()
    sys.exit(1 if faults else 0)
check()
