"""memory40: what the daemons take while a large sparse file goes to 40 neighbours.

    tests/bench/case_memory40.py [--gb GB] [--neighbours N] [--seconds S]     (alone, or from bench.py)

Peaks (VmHWM, set back before each step) of the daemon that serves and of the one
that receives: while the file is hashed; from `get` until all have the manifest;
while it goes round, unshaped; after a restart of the source; and of a receiver
that resumes. Nothing ends: the receivers are stopped in the midst of it.

All of it stands on an ext4 of 6 TB in a sparse image, so that forty times the file
has room, and what is taken in advance costs nothing. Needs root (a loop device).
"""

import argparse
import contextlib
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
from lan import Lan, ensure_privileges  # noqa: E402

GB = 10**9
MIB = 1 << 20
ROOM_BYTES = 6 << 40
GOAL_MIB = 64
CALM_MBIT = 10
EXT4_IOC_SHUTDOWN, EXT4_SHUTDOWN_NOLOGFLUSH = 0x8004587D, 2  # linux/ext4.h
# No mDNS: forty responders on one machine keep it busy for minutes.
PORT = 4077
LISTEN = ("--listen", PORT)


@contextlib.contextmanager
def roomy_folder():
    """A file system with room for all of it."""
    with tempfile.TemporaryDirectory(prefix="ronda-room-") as folder:
        image, mount = Path(folder) / "ext4", Path(folder) / "mnt"
        mount.mkdir()
        with open(image, "wb") as f:
            f.truncate(ROOM_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E",
                        "lazy_itable_init=1,nodiscard", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, mount], check=True)
        try:
            yield mount
        finally:
            subprocess.run(["umount", "-l", mount], check=True)


def drop_unwritten(folder):
    """Tens of gigabytes wait to be written, and are wanted no more: as after a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_SHUTDOWN_NOLOGFLUSH))
    os.close(fd)


def status_mib(daemon, key):
    for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def peak_mib(daemon):
    return status_mib(daemon, "VmHWM")


def forget_peaks(hosts):
    for host in hosts:
        Path(f"/proc/{host.daemon.pid}/clear_refs").write_text("5")


def wait_for(what, condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"memory40: {what}: not within {timeout_s} s")
        time.sleep(0.2)


def transfer_of(host):
    transfers = host.ronda("status").doc["transfers"]
    return transfers[0] if transfers else {"state": "none", "done_bytes": 0, "peers": 0}


def peaks(source, receivers):
    got = [peak_mib(r.daemon) for r in receivers]
    return {"source": peak_mib(source.daemon), "receiver_max": max(got),
            "receiver_mean": sum(got) / len(got)}


def sparse_file(path, size):
    with open(path, "wb") as f:
        f.truncate(size)
    return path


def hashing(source, room, size):
    source.start_daemon(*LISTEN, discovery="off")
    started = time.monotonic()
    share = source.ronda("share", sparse_file(room / "sparse.img", size), timeout_s=600).doc
    return share, {"source": peak_mib(source.daemon), "seconds": time.monotonic() - started}


def join(source, receivers, room, share):
    for host in receivers:
        host.start_daemon(*LISTEN, discovery="off", peers=[f"{source.ip}:{PORT}"])
    wait_for("not listed everywhere",
             lambda: all(any(s["id"] == share["id"] for s in r.ronda("ls").doc) for r in receivers))
    row = {"idle": peaks(source, receivers)}
    forget_peaks([source, *receivers])
    for host in receivers:
        (room / host.name).mkdir()
        host.ronda_start("get", share["id"], "-o", room / host.name, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    wait_for("no transfer", lambda: all(transfer_of(r)["done_bytes"] > 0 for r in receivers))
    row["manifest"] = peaks(source, receivers)
    return row


def transfer(source, receivers, seconds):
    wait_for("not all are linked", lambda: transfer_of(source)["peers"] >= len(receivers))
    forget_peaks([source, *receivers])
    time.sleep(seconds)
    row = peaks(source, receivers)
    row["seconds"] = seconds
    row["peers"] = transfer_of(source)["peers"]
    row["mib_received"] = sum(transfer_of(r)["done_bytes"] for r in receivers) / MIB
    return row


def restart(host, known, peers):
    host.daemon.kill()  # an orderly end waits for the disk
    started = time.monotonic()
    host.start_daemon(*LISTEN, discovery="off", peers=[f"{k.ip}:{PORT}" for k in known])
    seconds = time.monotonic() - started
    ready_mib = peak_mib(host.daemon)
    wait_for("no link after the restart", lambda: transfer_of(host)["peers"] >= peers)
    return {"ready": ready_mib, "linked": peak_mib(host.daemon), "seconds": seconds}


def measure(hosts, room, size, seconds):
    source, receivers = hosts[0], hosts[1:]
    share, hashed = hashing(source, room, size)
    row = {"share": share, "hashing": hashed, **join(source, receivers, room, share),
           "transfer": transfer(source, receivers, seconds)}
    for host in hosts:  # so that the disk can take it: what is measured now is not the load
        host.set_rate(CALM_MBIT)
    row["resume"] = restart(receivers[0], [source], len(receivers) // 2)
    row["restart"] = restart(source, receivers[1:2], len(receivers) // 2)
    return row


def case_memory40(args):
    size = int(getattr(args, "memory_gb", 100) * GB)
    count, seconds = getattr(args, "memory_neighbours", 40), getattr(args, "memory_seconds", 30)
    with roomy_folder() as room, Lan(hosts=count + 1) as lan:
        try:
            row = {"bytes": size, "neighbours": count, **measure(lan.hosts, room, size, seconds)}
        finally:
            daemons = [host.daemon for host in lan.hosts if host.daemon]
            for daemon in daemons:
                daemon.signal(signal.SIGKILL)  # dies once its disk lets go, which is next
            drop_unwritten(room)
            for daemon in daemons:
                daemon.process.wait()
    hashed, share = row["hashing"], row["share"]
    row["peak_mib"] = max(hashed["source"], row["restart"]["linked"], row["resume"]["linked"],
                          *(row[step][who] for step in ("idle", "manifest", "transfer")
                            for who in ("source", "receiver_max")))
    t = row["transfer"]
    print(f"memory40: {size / GB:.0f} GB sparse, {share['chunks']} chunks, {count} neighbours: hashing "
          f"{hashed['source']:.1f} MiB ({hashed['seconds']:.1f} s); idle {row['idle']['source']:.1f} / "
          f"{row['idle']['receiver_max']:.1f}; manifest {row['manifest']['source']:.1f} / "
          f"{row['manifest']['receiver_max']:.1f}; {t['seconds']} s of transfer, {t['mib_received']:.0f} MiB"
          f", {t['source']:.1f} / {t['receiver_max']:.1f}; restart {row['restart']['linked']:.1f}; resume "
          f"{row['resume']['linked']:.1f}; most {row['peak_mib']:.1f} of {GOAL_MIB}", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", dest="memory_gb", type=float, default=100)
    parser.add_argument("--neighbours", dest="memory_neighbours", type=int, default=40)
    parser.add_argument("--seconds", dest="memory_seconds", type=int, default=30)
    args = parser.parse_args()
    ensure_privileges()
    print(json.dumps(case_memory40(args)))


if __name__ == "__main__":
    main()
