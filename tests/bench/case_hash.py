"""hash: how fast `ronda share` hashes, against what SHA-256 and the disk can do in the same run.

    tests/bench/case_hash.py [--size MIB] [--files N] [--repeat N]       (alone, or from bench.py)

One daemon, no network. A file in the page cache on all cores against
`openssl speed -evp sha256` times the cores; the same file cold against reading
it cold with as many readers; many small files against SHA-256 of
their bytes; and each of them shared a second time, unchanged: the index answers. While it
hashes once more, the control API is asked every few milliseconds (not in a run
that is timed: it costs 3 %): how long an answer takes, of a hundred the slowest
(a machine with all cores busy adds its share), says whether the loop is held up.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
from lan import Lan, ensure_privileges  # noqa: E402

MIB = 1 << 20
RACY_S = 2.2  # a file changed more recently is not remembered by the index


def openssl_mib_s(cores):
    """`openssl speed` on all cores at once, 16 KiB blocks: the leaves of a share."""
    out = subprocess.run(["openssl", "speed", "-multi", str(cores), "-evp", "sha256", "-bytes",
                          "16384", "-seconds", "1"], capture_output=True, text=True, check=True).stdout
    return float(re.search(r"^(?:evp|sha256)\s+([\d.]+)k", out, re.M | re.I).group(1)) * 1000 / MIB


def make_file(path, size):
    block = os.urandom(4 * MIB)
    with open(path, "wb") as out:
        for n in range(size // len(block)):
            out.write(n.to_bytes(8, "big") + block[8:])
        os.fsync(out.fileno())  # or the kernel writes it out while we hash
    return path


def make_tree(root, count, size):
    for i in range(count):
        folder = root / f"d{i // 100:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{i:05d}").write_bytes(os.urandom(size))
    return root


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
    row = {"mib": runs[0]["mib"], "files": runs[0]["files"],
           "seconds": statistics.median(r["seconds"] for r in runs),
           "of_limit": statistics.median(limit / r["seconds"] for limit, r in zip(limits_s, runs))}
    row["mib_s"] = row["mib"] / row["seconds"]
    row["us_a_file"] = row["seconds"] * 1e6 / row["files"]
    return row


def from_cache(host, path, repeat):
    """Against SHA-256 of the same bytes on all cores."""
    runs, limits = [], []
    for _ in range(repeat):
        speed = openssl_mib_s(os.cpu_count())
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
        if not drop_cache(path):
            return None
        limits.append(read_seconds(path, os.cpu_count()))
        drop_cache(path)
        runs.append(share(host, path))
    row = summary(runs, limits)
    restart(host)
    drop_cache(path)
    row["answer_ms"] = share_asked(host, path)
    return row


def say(what, row, limit):
    print(f"hash: {what}: {row['mib']:.0f} MiB in {row['files']} files, {row['seconds']:.2f} s, "
          f"{row['mib_s']:.0f} MiB/s, {row['of_limit']:.2f} of {limit}, {row['us_a_file']:.0f} us a file"
          f"; an answer meanwhile {row['answer_ms']:.0f} ms"
          + (f"; again {row['again_seconds']:.3f} s" if "again_seconds" in row else ""), flush=True)


def case_hash(args):
    repeat = args.repeat
    with Lan(hosts=1) as lan:
        host = lan.hosts[0]
        path = make_file(host.dir / "image.bin", getattr(args, "hash_size", 4096) * MIB)
        made = make_tree(host.dir / "tree", getattr(args, "hash_files", 10000), 10240)
        time.sleep(RACY_S)
        row = {"cores": os.cpu_count(), "file": from_cache(host, path, repeat),
               "cold": from_disk(host, path, repeat), "tree": from_cache(host, made, repeat),
               "usr_share": from_cache(host, Path("/usr/share"), repeat)}
    say("a file in the page cache", row["file"], "openssl on all cores")
    if row["cold"]:
        say("the same, cold", row["cold"], "reading it")
    say("a tree of small files", row["tree"], "openssl on all cores")
    say("/usr/share", row["usr_share"], "openssl on all cores")
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", dest="hash_size", type=int, default=4096, help="MiB")
    parser.add_argument("--files", dest="hash_files", type=int, default=10000)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    ensure_privileges()
    print(json.dumps(case_hash(args)))


if __name__ == "__main__":
    main()
