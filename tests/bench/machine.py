"""The machine: what it is, how busy it was, and its memory."""

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


def warm_memory(mib):
    """Writes and drops a file of this size. In a virtual machine the first touch of a page
    costs up to ten times a later one, and who is timed first would pay for all; pages that
    have been free for seconds go back to the host. So: right before the clock starts."""
    path = Path(tempfile.gettempdir()) / f"bench-warm-{os.getpid()}"
    try:
        with open(path, "wb", buffering=0) as out:
            for _ in range(int(mib) // 4):
                out.write(_BLOCK)
    finally:
        path.unlink(missing_ok=True)


def choose_folder():
    """Files in memory, unless TMPDIR says where: a disk is not what is compared."""
    shm = "/dev/shm"
    if "TMPDIR" not in os.environ and os.access(shm, os.W_OK):
        free_gib = shutil.disk_usage(shm).free / 2**30
        if free_gib > 8:
            os.environ["TMPDIR"] = tempfile.tempdir = shm
