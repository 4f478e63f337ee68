"""What the daemons take while a large sparse file goes to 40 neighbours.

Peaks (VmHWM, set back before each step) of the daemon that serves and of the one
that receives: while the file is hashed; from `get` until all have the manifest;
while it goes round, unshaped; after a restart of the source; and of a receiver
that resumes. Nothing ends: the receivers are stopped in the midst of it.

All of it stands on an ext4 of 6 TB in a sparse image on disk, so that forty times the file
has room, and what is taken in advance costs nothing. Needs root (a loop device).
"""

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import rivals
from contest import bench_lan
from machine import MIB
from party import wait_for

GB = 10**9
ROOM_BYTES = 6 << 40
ROOM_IN = "/var/tmp"  # not in memory: tens of gigabytes are written
READY_S = 120
CALM_MBIT = 10
EXT4_IOC_SHUTDOWN, EXT4_SHUTDOWN_NOLOGFLUSH = 0x8004587D, 2  # linux/ext4.h
# No mDNS: forty responders on one machine keep it busy for minutes.
PORT = 4077
LISTEN = ("--listen", PORT)


@contextlib.contextmanager
def roomy_folder():
    """A file system with room for all of it."""
    with tempfile.TemporaryDirectory(prefix="ronda-room-", dir=ROOM_IN) as folder:
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


def peak_mib(daemon):
    text = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+)", text, re.M).group(1)) / 1024


def forget_peaks(hosts):
    for host in hosts:
        Path(f"/proc/{host.daemon.pid}/clear_refs").write_text("5")


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
    wait_for("the share is listed everywhere", lambda: all(
        any(s["id"] == share["id"] for s in r.ronda("ls").doc) for r in receivers), READY_S)
    row = {"idle": peaks(source, receivers)}
    forget_peaks([source, *receivers])
    for host in receivers:
        (room / host.name).mkdir()
        host.ronda_start("get", share["id"], "-o", room / host.name, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    wait_for("everybody receives",
             lambda: all(transfer_of(r)["done_bytes"] > 0 for r in receivers), READY_S)
    row["manifest"] = peaks(source, receivers)
    return row


def transfer(source, receivers, seconds):
    wait_for("all are linked", lambda: transfer_of(source)["peers"] >= len(receivers), READY_S)
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
    wait_for("links after the restart", lambda: transfer_of(host)["peers"] >= peers, READY_S)
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


def kill_all(hosts, room):
    daemons = [host.daemon for host in hosts if host.daemon]
    for daemon in daemons:
        daemon.signal(signal.SIGKILL)  # dies once its disk lets go, which is next
    drop_unwritten(room)
    for daemon in daemons:
        daemon.process.wait()


def measure_all(gb, neighbours, seconds):
    with roomy_folder() as room, bench_lan(hosts=neighbours + 1) as lan:
        try:
            row = measure(lan.hosts, room, int(gb * GB), seconds)
        finally:
            kill_all(lan.hosts, room)
    steps = ("idle", "manifest", "transfer")
    sources = [row["hashing"]["source"], row["restart"]["linked"], *(row[s]["source"] for s in steps)]
    receivers = [row["resume"]["linked"], *(row[s]["receiver_max"] for s in steps)]
    return {"gb": gb, "chunks": row["share"]["chunks"], "hashing_s": row["hashing"]["seconds"],
            "source_peak_mib": max(sources), "receiver_peak_mib": max(receivers),
            "peak_mib": max(sources + receivers), "neighbours": row["transfer"]["peers"],
            "received_mib": row["transfer"]["mib_received"]}


def memory(bench):
    if bench.wants(rivals.Ronda):
        neighbours = bench.pick(40, 10)
        bench.attempt("memory", "ronda", lambda: measure_all(
            bench.pick(100, 5), neighbours, bench.pick(30, 5)), receivers=neighbours)
