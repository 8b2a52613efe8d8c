"""What a program finds on a full file system: in a plain directory, in the mount at home, in the mount as a foreigner.
All three say the same. Run by full_file_system.sh.

usage: full.py DIRECTORY REAL_DIRECTORY     on a file system without quota, with few inodes left to make
"""
import errno, os, sys

D, REAL = sys.argv[1], sys.argv[2]
os.chdir(D)


def said(call):
    try:
        return call()
    except OSError as e:
        return errno.errorcode[e.errno]


def same(name, wanted):
    with open(f"{REAL}/{name}", "rb") as f:
        got = f.read()
    assert got == wanted, f"{name} has {len(got)} bytes, not {len(wanted)}"


def new(path, flags=0):
    return os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)


# One call that is larger than what is left: a part is written, and the next one fails.
with open("keep", "wb") as f:
    f.write(b"k" * 100000)
os.link("keep", "linked")
fd = new("big")
data = os.urandom(1 << 20) * 8
n = os.write(fd, data)
assert 0 < n < len(data), n
print("next write:", said(lambda: os.write(fd, b"x" * 70000)))
print("at the end:", said(lambda: os.pwrite(fd, b"x" * 70000, n)))
os.close(fd)
same("big", data[:n])
# What needs no room goes on; what does fails, and changes nothing.
print("over:", said(lambda: os.pwrite(os.open("keep", os.O_WRONLY), b"K" * 10, 5)))
same("keep", b"k" * 5 + b"K" * 10 + b"k" * 99985)
print("fallocate:", said(lambda: os.posix_fallocate(os.open("keep", os.O_WRONLY), 0, 1 << 24)))
print("rename:", said(lambda: os.rename("linked", "renamed")))
print("truncate:", said(lambda: os.truncate("keep", 50)))
same("renamed", b"k" * 5 + b"K" * 10 + b"k" * 35)
# Room again: half a file, then the whole.
print("unlink:", said(lambda: os.unlink("big")))
fd = new("after")
print("after:", said(lambda: os.write(fd, data[:200000])))
os.close(fd)
same("after", data[:200000])
# No inode left.
made = []
while True:
    name = f"n{len(made)}"
    what = said(lambda: os.close(new(name, os.O_EXCL)))
    if what:
        break
    made.append(name)
print("create:", what, os.path.exists(f"{REAL}/{name}"))
for call in (lambda: os.mkdir("d"), lambda: os.symlink("x", "s"), lambda: os.mkfifo("p"), lambda: os.mkdir("renamed/d")):
    print("make:", said(call))
print("rename over:", said(lambda: os.rename("after", "keep")))
for name in made:
    os.unlink(name)
print("mkdir after:", said(lambda: os.mkdir("d")))
print("left:", sorted(os.listdir(REAL)))
