"""How fast `ronda share` hashes, against what SHA-256 and the disk can do in the same run.

One daemon, no network. A file in the page cache on all cores against
`openssl speed -evp sha256` in as many processes; the same file cold against reading it cold
with as many readers (not where files are in memory); many small files against SHA-256 of
their bytes; and each of them shared a second time, unchanged: the index answers. While it
hashes once more, the control API is asked every few milliseconds (not in a run that is
timed: it costs some of it): how long an answer takes, of a hundred the slowest (a machine with all
cores busy adds its share), says whether the loop is held up.
"""

import os
import socket
import statistics
import threading
import time

import rivals
from contest import bench_lan
from machine import MIB
from party import make_file

from .machine_limits import openssl_sha256
from .small import make_tree

RACY_S = 2.2  # a file changed more recently is not remembered by the index
SPEED_S = 1


def drop_cache(path):
    """Out of the page cache, without a word to the rest of the machine. False: it stays there
    (tmpfs)."""
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            os.preadv(f.fileno(), [bytearray(4096)], 0, os.RWF_NOWAIT)
            return False
        except BlockingIOError:
            return True
        except OSError:  # tmpfs does not know the question
            return False


def read_seconds(path, readers):
    """As many readers side by side, 1 MiB at a time."""
    size = path.stat().st_size
    step = -(-size // readers // MIB) * MIB

    def read(first):
        with open(path, "rb", buffering=0) as f:
            f.seek(first)
            left, buf = min(step, size - first), bytearray(MIB)
            while left > 0:
                left -= f.readinto(buf) or left

    threads = [threading.Thread(target=read, args=(at,)) for at in range(0, size, step)]
    started = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return time.monotonic() - started


class Asker:
    """Asks the daemon for its version over and over, each time on a new connection."""

    def __init__(self, path):
        self.path, self.took_s, self.stop = str(path), [], threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _ask(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            s.sendall(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while s.recv(4096):
                pass

    def _run(self):
        while not self.stop.wait(0.005):
            started = time.monotonic()
            self._ask()
            self.took_s.append(time.monotonic() - started)

    def slowest_ms(self):
        took = sorted(self.took_s)
        return 1000 * took[len(took) * 99 // 100] if took else 0.0

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def share(host, path):
    doc = host.ronda("share", path, timeout_s=600).doc
    return {"seconds": doc["seconds"], "files": doc["files"], "mib": doc["bytes"] / MIB}


def share_asked(host, path):
    with Asker(host.daemon.socket) as asker:
        share(host, path)
    return asker.slowest_ms()


def restart(host):
    """With an index that is empty."""
    if host.daemon:
        host.daemon.stop()
    host.start_daemon(discovery="off", fresh=True)


def summary(runs, limits_s):
    """limits_s: what each run is measured against."""
    row = {"mib": runs[0]["mib"], "files": runs[0]["files"], "repeated": len(runs),
           "seconds": statistics.median(r["seconds"] for r in runs),
           "part_of_limit": statistics.median(limit / r["seconds"] for limit, r in zip(limits_s, runs)),
           "limit_s": statistics.median(limits_s)}
    row["gb_s"] = row["mib"] * MIB / 1e9 / row["seconds"]
    row["us_a_file"] = row["seconds"] * 1e6 / row["files"]
    return row


def from_cache(host, path, repeat):
    """Against SHA-256 of the same bytes on all cores."""
    runs, limits = [], []
    for _ in range(repeat):
        speed = openssl_sha256(os.cpu_count(), SPEED_S) * 1e9 / MIB
        restart(host)
        runs.append(share(host, path))
        limits.append(runs[-1]["mib"] / speed)
    row = summary(runs, limits)
    row["again_seconds"] = share(host, path)["seconds"]
    restart(host)
    row["answer_ms"] = share_asked(host, path)
    return row


def from_disk(host, path, repeat):
    """Against reading it with as many threads, just before."""
    runs, limits = [], []
    for _ in range(repeat):
        restart(host)
        drop_cache(path)
        limits.append(read_seconds(path, os.cpu_count()))
        drop_cache(path)
        runs.append(share(host, path))
    row = summary(runs, limits)
    restart(host)
    drop_cache(path)
    row["answer_ms"] = share_asked(host, path)
    return row


def hashing(bench):
    if not bench.wants(rivals.Ronda):
        return
    size, files = bench.pick(4096, 512) * MIB, bench.pick(10_000, 1_000)
    with bench_lan(hosts=1) as lan:
        host = lan.hosts[0]
        path = make_file(host.dir / "image.bin", size)
        folder = make_tree(host.dir / "tree", files * 10240)
        time.sleep(RACY_S)
        todo = [("ronda", from_cache, path), ("ronda_tree", from_cache, folder)]
        if drop_cache(path):
            todo.append(("ronda_cold", from_disk, path))
        for system, measure, what in todo:
            bench.attempt("hash", system, lambda m=measure, w=what: m(host, w, bench.repeat))
