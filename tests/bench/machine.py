"""The machine: what it is, how busy it was, and its memory."""

import mmap
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

MIB = 1 << 20
_BLOCK = bytes(4 * MIB)


def _first(pattern, path, default="?"):
    try:
        found = re.search(pattern, Path(path).read_text(), re.M)
    except OSError:
        found = None
    return found.group(1) if found else default


def _output(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def describe():
    """What a reader must know to compare."""
    return {"cpu": _first(r"^model name\s*: (.*)$", "/proc/cpuinfo", platform.machine()),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
            "virtual": _output("systemd-detect-virt") or "?",
            "kernel": platform.release(),
            "system": _first(r'^PRETTY_NAME="(.*)"$', "/etc/os-release"),
            "files_on": _output("stat", "-f", "-c", "%T", tempfile.gettempdir())}


def package_versions(packages):
    text = _output("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *sorted(packages))
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def revision(root):
    """The commit the measured tree is at, "+" when it has changes."""
    commit = _output("git", "-C", str(root), "rev-parse", "--short=10", "HEAD") or "?"
    dirty = _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no",
                    "--", ":!tests/bench", ":!README.md")
    return commit + ("+" if dirty else "")


def cpu_times():
    """(busy, stolen, all) in ticks of all cores so far."""
    fields = [int(f) for f in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, idle, iowait, irq, softirq, steal = fields
    return user + nice + system + irq + softirq, steal, sum(fields)


def cpu_share(before, after):
    """(busy, stolen) as parts of all cores' time between two cpu_times()."""
    ticks = max(1, after[2] - before[2])
    return (after[0] - before[0]) / ticks, (after[1] - before[1]) / ticks


class Ballast:
    """Memory that is there: in a virtual machine the first touch of a page costs up to ten
    times a later one, and one that has been free for a second or two goes back to the host.
    So three times of what will be written is taken before the clock starts; two go as it
    does, the third while it is written. (Less, or all at once, and one run in three still
    met cold pages and took twice as long.)"""

    STEP = 32 * MIB
    BUFFERS = 256 * MIB

    def __init__(self, size):
        self.size = int(size)
        self.held = -(-(3 * self.size + self.BUFFERS) // self.STEP) * self.STEP
        self.memory = mmap.mmap(-1, self.held, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        # Whole huge pages are given up in no time; and no child shall hold them longer.
        self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.memory.madvise(mmap.MADV_DONTFORK)
        for _ in range(self.held // len(_BLOCK)):
            self.memory.write(_BLOCK)

    def give(self, written):
        """So much has been written."""
        keep = max(0, self.size - int(written)) // self.STEP * self.STEP
        if keep < self.held:
            self.memory.madvise(mmap.MADV_DONTNEED, keep, self.held - keep)
            self.held = keep

    def close(self):
        self.memory.close()


def choose_folder():
    """Files in memory, unless TMPDIR says where: a disk is not what is compared."""
    shm = "/dev/shm"
    if "TMPDIR" not in os.environ and os.access(shm, os.W_OK):
        free_gib = shutil.disk_usage(shm).free / 2**30
        if free_gib > 8:
            os.environ["TMPDIR"] = tempfile.tempdir = shm
