"""ronda alone, with nothing to do."""

import os
import re
import time
from pathlib import Path

import rivals
from contest import bench_lan
from machine import MIB
from party import make_file


def _status(pid, field):
    return int(re.search(rf"^{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M).group(1))


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
