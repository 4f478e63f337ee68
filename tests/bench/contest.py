"""One contest: a LAN, one file, one system; prepared, timed, checked and cleaned up."""

import contextlib
import functools
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional

from lan import Lan, limit_seconds
from party import make_file, tree

from machine import MIB, Ballast, cpu_share, cpu_times

GIVE_UP_RATIO = 6            # x bound: who is not done by then is stopped
GIVE_UP_RATIO_SERVER = 2.0   # x N x bound, for client-server
GIVE_UP_UNSHAPED_S = 300
GIVE_UP_LEAST_S = 15
PROGRESS_EVERY_S = 0.5
WRITTEN_PART = 1.3           # of what comes in: a small file's last page, inodes


@functools.cache
def _originals():
    return tempfile.TemporaryDirectory(prefix="ronda-bench-")  # goes with this process


def original(path, size):
    """A file of this size at path: made once a run, linked after that."""
    made = Path(_originals().name) / str(size)
    if not made.exists():
        make_file(made, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(made, path)
    return path


@dataclass
class Setting:
    """What one contest is about. rates: of each link, the source's first; overrides rate_mbit."""

    size_mib: float
    receivers: int
    rate_mbit: Optional[float] = None
    rates: tuple = ()
    warm: bool = False                 # memory is at hand: for what is over in seconds
    keep_progress: bool = False
    watch: Optional[Callable] = None   # watch(rival, seconds)
    make: Callable = field(default=original)  # make(path, bytes): the file, or a folder

    @property
    def size(self):
        return int(self.size_mib * MIB)

    @property
    def bound_s(self):
        return limit_seconds(self.size, self.rate_mbit) if self.rate_mbit else None


class Progress:
    """The receivers' mean share of the bytes, as their interfaces count them, over time; and
    when the source's first data left."""

    def __init__(self, rival, size, keep):
        self.rival, self.size, self.keep = rival, size, keep
        self.before = [h.counters()[0] for h in rival.receivers]
        self.sent_before = rival.source.counters()[1]
        self.first_byte_s, self.points, self.next_s = None, [], 0.0

    def received(self):
        """Bytes, by all of them."""
        return sum(h.counters()[0] - b for h, b in zip(self.rival.receivers, self.before))

    def look(self, seconds):
        if self.first_byte_s is None and \
                self.rival.source.counters()[1] - self.sent_before > self.size / 200:
            self.first_byte_s = seconds
        if self.keep and seconds >= self.next_s:
            self.next_s = seconds + PROGRESS_EVERY_S
            got = [min(1, (h.counters()[0] - b) / self.size)
                   for h, b in zip(self.rival.receivers, self.before)]
            self.points.append([round(seconds, 2), round(sum(got) / len(got), 4)])


def check(rival, path):
    want = tree(path)
    for index, host in enumerate(rival.receivers):
        if tree(rival.output(index)) != want:
            raise AssertionError(f"{rival.name}: {host.name} got something else")


def give_up_after(rival, setting):
    if not setting.bound_s:
        return GIVE_UP_UNSHAPED_S
    if rival.is_client_server:
        return GIVE_UP_RATIO_SERVER * setting.receivers * setting.bound_s
    return GIVE_UP_RATIO * limit_seconds(setting.size, min(setting.rates or (setting.rate_mbit,)))


def time_it(rival, setting):
    """From a rival that is ready to its figures."""
    ballast = Ballast(setting.size * setting.receivers * WRITTEN_PART) if setting.warm else None
    progress = Progress(rival, setting.size, setting.keep_progress)
    limit_s = max(GIVE_UP_LEAST_S, give_up_after(rival, setting))

    def look(seconds):
        progress.look(seconds)
        if ballast:
            ballast.give(progress.received() * WRITTEN_PART)
        if setting.watch:
            setting.watch(rival, seconds)

    cpu_before, own_before = cpu_times(), rival.cpu_seconds()
    look(0)
    rival.go()
    times = rival.wait(limit_s, look)
    cpu_after, own_after = cpu_times(), rival.cpu_seconds()
    if ballast:
        ballast.close()
    sent = rival.source.counters()[1] - progress.sent_before
    done = [t for t in times if t is not None]
    busy, stolen = cpu_share(cpu_before, cpu_after)
    figures = {"seconds": max(done) if len(done) == len(times) else None,
               "finished": len(done), "limit_s": limit_s, "times": [t and round(t, 4) for t in times],
               "copies": sent / setting.size, "cpu_s": own_after - own_before,
               "busy": busy, "stolen": stolen, "first_byte_s": progress.first_byte_s}
    if setting.bound_s:
        figures["bound_s"] = setting.bound_s
        figures["ratio"] = figures["seconds"] and figures["seconds"] / setting.bound_s
    if progress.points:
        figures["progress"] = progress.points
    return figures


@contextlib.contextmanager
def bench_lan(*args, **options):
    """A Lan that leaves nothing behind: not even the files of a failure, which are gigabytes of
    memory. What a daemon had to complain about is one."""
    lan = Lan(*args, **options)
    try:
        yield lan
        lan.stop_daemons()
        complaints = lan.complaints()
        if complaints:
            raise AssertionError(complaints[0])
    finally:
        lan.close()


def hold(rival_class, setting):
    """Runs one contest -> its figures."""
    with bench_lan(hosts=setting.receivers + 1, rate_mbit=setting.rate_mbit) as lan:
        for host, rate in zip(lan.hosts, setting.rates):
            host.set_rate(rate)
        source, receivers = lan.hosts[0], lan.hosts[1:]
        path = setting.make(source.dir / "files" / "image.bin", setting.size)
        rival = rival_class(source, receivers, path, setting.rate_mbit)
        try:
            rival.prepare()
            rival.seed()
            figures = time_it(rival, setting)
            if figures["seconds"] is not None and rival.keeps_copy:
                check(rival, path)
        finally:
            rival.stop()
        return figures
