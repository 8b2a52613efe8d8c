"""64 writers in 16 repositories for a while, and what must be true afterwards. Run by turn_stress.sh.

Each writer is a session: at home in one repository, half of what it writes goes to others. What it does:
  append   one block to <repo>/d/log, a single write(2): whole or not at all, in the writer's order
  locked   `rrm lock --all <repo>` around several changes to <repo>/d/locked: nothing of others between the first and
           the last (all branches: HEAD moves meanwhile)
  routed   `rrm write`, a whole file
What was acknowledged is noted outside of the mount, so a writer that is killed leaves a true account.
"""
import json, os, random, signal, subprocess, sys, time
from collections import Counter

mount, real, state, tmp, seconds = sys.argv[1:5] + [float(sys.argv[5])]
REPOS = [f"r{i:02}" for i in range(16)]
WRITERS = 64
BOUND_S = 30 + 60 + 15  # lock_timeout_ms, start_timeout_ms, and a machine that has other work
end = 0.0


def note(file, text):
    os.write(file, (text + "\n").encode())


def append(me, n, repo):
    body = (b"%d" % (n % 10)) * random.choice([1, 60, 4000, 30000])
    block = b"<%s %d %d\n" % (me.encode(), n, len(body)) + body + b">\n"
    fd = os.open(f"{mount}/{repo}/d/log", os.O_WRONLY | os.O_APPEND)
    try:
        if os.write(fd, block) != len(block):
            raise OSError(5, "short write")
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
        note(account, f"try {do.__name__} {n} {repo}")
        begun = time.time()
        try:
            do(me, n, repo)
            note(account, f"ok {do.__name__} {n} {repo} {time.time() - begun:.3f}")
        except OSError as e:
            note(account, f"error {do.__name__} {n} {repo} {time.time() - begun:.3f} {e.errno} {str(e.strerror)[:300]!r}")
        time.sleep(random.choice([0, 0.001, 0.02, 0.1]))


def switcher():
    os.setsid()
    while time.time() < end:
        repo = random.choice(REPOS)
        for branch in ("other", "main"):
            subprocess.run(["git", "checkout", "-q", branch], cwd=f"{mount}/{repo}", capture_output=True)
            time.sleep(0.3)


def reader(out, until):
    """Reads what the kernel knows already; microseconds each."""
    os.setsid()
    took = []
    while time.time() < until():
        for repo in REPOS:
            begun = time.monotonic_ns()
            with open(f"{mount}/{repo}/src/main.c", "rb") as f:
                f.read()
            took.append((time.monotonic_ns() - begun) // 1000)
        time.sleep(0.002)
    took.sort()
    with open(out, "w") as f:
        json.dump({"n": len(took), "p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100], "max": took[-1]}, f)


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


def accounts():
    """{(kind, writer, n, repo): "ok" | "error" | "?"}, waits, errors"""
    fate, waits, errors = {}, [], Counter()
    for me in os.listdir(f"{tmp}/account"):
        with open(f"{tmp}/account/{me}") as f:
            for line in f:
                word = line.split(" ", 6)
                key = (word[1], me, int(word[2]), word[3].strip())
                fate[key] = {"try": "?", "ok": "ok", "error": "error"}[word[0]]
                if word[0] != "try":
                    waits.append(float(word[4]))
                if word[0] == "error":
                    errors[word[5]] += 1
                    if int(word[5]) not in (5, 16, 35, 1001, 1016, 1035, 1124, 1137, 1000 - 9):
                        bad(f"{me}: {line.strip()}")
    return fate, waits, errors


faults = []


def bad(text):
    faults.append(text)
    print("FAILED:", text, file=sys.stderr)


def blocks(repo, fate):
    """The log as [(writer, n)]; every byte belongs to a whole block, or to one whose writer was killed in it or was
    told EIO."""
    try:
        data = open(f"{real}/{repo}/d/log", "rb").read()
    except FileNotFoundError:
        return []
    found, at = [], 0
    while at < len(data):
        head = data[at:data.find(b"\n", at)].split(b" ")
        whole = len(head) == 3 and data[at:at + 2] == b"<w" and head[2].isdigit()
        if whole:
            me, n, length = head[0][1:].decode(), int(head[1]), int(head[2])
            block = b" ".join(head) + b"\n" + (b"%d" % (n % 10)) * length + b">\n"
            if data.startswith(block, at):
                found.append((me, n))
                at += len(block)
                continue
        after = data.find(b"<w", at + 1)
        after = len(data) if after < 0 else after
        how = fate.get(("append", me, n, repo)) if whole else None
        if how not in ("?", "error"):
            bad(f"{repo}/log: torn at byte {at} of {len(data)}, {after - at} bytes until the next: "
                f"{data[at:at + 40]!r}...{data[after - 20:after + 30]!r}, {how}")
        at = after
    return found


def check_log(repo, fate):
    found = blocks(repo, fate)
    for key, times in Counter(found).items():
        if times > 1:
            bad(f"{repo}/log: {key} is there {times} times")
    there = set(found)
    lost = [k for k, v in fate.items() if v == "ok" and k[0] == "append" and k[3] == repo and (k[1], k[2]) not in there]
    for k in lost:
        bad(f"{repo}/log: {k[1]} {k[2]} was acknowledged and is not there")
    last = {}
    for me, n in found:
        if last.get(me, 0) >= n:
            bad(f"{repo}/log: {me} wrote {n} after {last[me]}")
        last[me] = n
    return len(found)


def check_locked(repo, fate):
    """What was done under one lock stands together."""
    try:
        lines = [line.split() for line in open(f"{real}/{repo}/d/locked")]
    except FileNotFoundError:
        return 0
    sessions = 0
    for kind, me, n, where in [k for k, v in fate.items() if v == "ok" and k[0] == "locked" and k[3] == repo]:
        at = [i for i, line in enumerate(lines) if line[1] == f"{me}-{n}"]
        if [lines[i][0] for i in at] != ["S", "M", "E"]:
            bad(f"{repo}/locked: {me}-{n} is {[lines[i] for i in at]}")
        elif at[2] - at[0] != 2:
            bad(f"{repo}/locked: others within {me}-{n}: {lines[at[0]:at[2] + 1]}")
        sessions += 1
    return sessions


def check_routed(repo):
    try:
        lines = open(f"{real}/{repo}/d/routed").read().splitlines()
    except FileNotFoundError:
        return
    # A killed rrm write leaves a part of its own; never parts of two.
    if len(set(lines[:-1])) > 1:
        bad(f"{repo}/routed: parts of several: {sorted(set(lines))[:3]}")


def check_audit(directory, longest):
    """Epochs never go back, and each is one session's: write sessions do not overlap."""
    files = [f for f in os.listdir(directory) if f.startswith("audit") and f.endswith(".jsonl")]
    records = [json.loads(line) for f in files for line in open(f"{directory}/{f}")]
    records.sort(key=lambda r: r["seq"])
    last, owner = 0, {}
    for r in records:
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


def check():
    fate, waits, errors = accounts()
    appended = sum(check_log(repo, fate) for repo in REPOS)
    sessions = sum(check_locked(repo, fate) for repo in REPOS)
    for repo in REPOS:
        check_routed(repo)
    longest = [0.0]
    audits = [check_audit(f"{state}/repos/{d}", longest) for d in os.listdir(f"{state}/repos")]
    ok = sum(v == "ok" for v in fate.values())
    quiet, busy = (json.load(open(f"{tmp}/{n}.json")) for n in ("quiet", "busy"))
    print(f"{ok} of {len(fate)} changes acknowledged: {appended} blocks, {sessions} explicit turns; errors {dict(errors)}")
    print(f"killed {open(f'{tmp}/done').read()}; {sum(a for a, _ in audits)} audit records in {sum(t for _, t in audits)} turns")
    print(f"longest call {max(waits):.2f} s, longest wait in the audit {longest[0]:.2f} s")
    print(f"reads: p50 {quiet['p50']} -> {busy['p50']} us, p99 {quiet['p99']} -> {busy['p99']} us "
          f"(x{busy['p99'] / max(1, quiet['p99']):.1f}), max {busy['max']} us, {busy['n']} of them")
    if max(waits) > BOUND_S:
        bad(f"a call took {max(waits):.1f} s")
    if busy["max"] > 10e6:
        bad("a reader waited")
    if not sessions or appended < 100 or sum(t for _, t in audits) < 20:
        bad("next to nothing was done")
    if ok * 2 < len(fate):
        bad("most changes failed")
    sys.exit(1 if faults else 0)


if sys.argv[6] == "run":
    main()
    sys.exit(1 if faults else 0)
check()
