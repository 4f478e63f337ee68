"""ronda alone: memory, idleness. Nobody to race with, so these ask the system."""

import os
import re
import time
from pathlib import Path

import rivals
from contest import bench_lan
from machine import MIB
from party import make_file

GB = 10**9


def _status(pid, field):
    return int(re.search(rf"^{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M).group(1))


class Introduced(rivals.Ronda):
    """The receivers are told where the source is: forty mDNS responders keep a machine busy."""

    PORT = 4077

    def start_daemons(self):
        self.source.start_daemon("--listen", self.PORT, discovery="off")
        for host in self.receivers:
            host.start_daemon("--listen", self.PORT, discovery="off",
                              peers=[f"{self.source.ip}:{self.PORT}"])

    def wait_neighbours(self):
        """Whether all are linked is seen in the figures."""


def memory(bench):
    """The most that any daemon took while one had a huge file and all the others asked it."""
    if not bench.wants(rivals.Ronda):
        return
    gb, receivers = bench.pick(100, 5), bench.pick(40, 10)
    bench.attempt("memory", "ronda", lambda: _memory_once(gb, receivers, bench.pick(45, 10)),
                  receivers=receivers)


def _memory_once(gb, receivers, seconds):
    rate_mbit = 20
    with bench_lan(hosts=receivers + 1, rate_mbit=rate_mbit) as lan:
        source, rest = lan.hosts[0], lan.hosts[1:]
        path = source.dir / "huge.bin"
        with open(path, "wb") as out:
            out.truncate(gb * GB)
        rival = Introduced(source, rest, path, rate_mbit)
        for host in rest:
            # Room for it, as a disk would have: what is not written takes no memory.
            rival.folder(host)
            host.ns.sh(f"mount -t tmpfs -o size={2 * gb}G tmpfs {rival.folder(host)}")
        try:
            rival.prepare()
            rival.seed()
            rival.go()
            time.sleep(seconds)
            peaks = [_status(h.daemon.pid, "VmHWM") / 1024 for h in lan.hosts]
            moved = [rival.status(h).get("done_bytes", 0) / MIB for h in rest]
            connected = rival.status(source).get("peers", 0)
        finally:
            for host in rest:
                host.daemon.kill()
            rival.stop()
    return {"gb": gb, "after_s": seconds, "source_peak_mib": peaks[0],
            "receiver_peak_mib": max(peaks[1:]), "peak_mib": max(peaks),
            "neighbours": connected, "received_mib": max(moved)}


def _switches(pid):
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(),
                             re.M).group(1)) for task in Path(f"/proc/{pid}/task").iterdir())


def _cpu_ms(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


def idle(bench):
    """Three daemons after a transfer, once sessions have ended and mDNS is calm."""
    if bench.wants(rivals.Ronda):
        bench.attempt("idle", "ronda", lambda: _idle_once(bench.pick(45, 5), bench.pick(60, 10)),
                      receivers=2)


def _idle_once(calm_s, seconds):
    with bench_lan(hosts=3) as lan:
        source, rest = lan.hosts[0], lan.hosts[1:]
        rival = rivals.Ronda(source, rest, make_file(source.dir / "image.bin", 8 * MIB))
        rival.prepare()
        rival.seed()
        rival.go()
        rival.wait(60)
        time.sleep(calm_s)
        pids = [h.daemon.pid for h in lan.hosts]
        before = [(_switches(p), _cpu_ms(p)) for p in pids]
        time.sleep(seconds)
        after = [(_switches(p), _cpu_ms(p)) for p in pids]
        return {"seconds": seconds,
                "wakeups_per_s": max(b[0] - a[0] for a, b in zip(before, after)) / seconds,
                "cpu_ms_per_s": max(b[1] - a[1] for a, b in zip(before, after)) / seconds,
                "rss_mib": max(_status(p, "VmRSS") / 1024 for p in pids)}
