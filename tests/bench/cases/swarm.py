"""One file to many over limited links. bound: the time of one copy, however many receive."""

import rivals
from contest import Setting
from lan import limit_seconds

RATE_MBIT = 100
# The same file as for the ten. With 24 receivers two cores are 97 % busy with 30 Mbit/s. Where
# next to nothing is fixed in a rival's time (udpcast waits two seconds), a quarter of the file
# tells as much, sooner.
FLAT_MIB, FLAT_LIBTORRENT_MIB, FLAT_MBIT = 256, 63, 20
FLAT_CROWDS, FLAT_RIVAL_CROWDS = (1, 2, 4, 8, 16, 24), (1, 8, 24)
CROWD = 10
# 504 chunks, a quarter of what the 256 MiB have, in a quarter of the time.
SHORT_MIB = 63


def swarm(bench):
    """Everybody in turn, round after round, so that the machine's moods hit all alike."""
    size = bench.pick(256, 32)
    systems = bench.systems(rivals.ALL)
    given_up = set()
    for turn in range(bench.repeat):
        for cls in systems:
            if cls in given_up or (turn >= bench.rival_repeat and not cls.is_ours):
                continue
            figures = bench.hold("swarm", cls, Setting(
                size / cls.smaller, CROWD, RATE_MBIT, keep_progress=turn == 0))
            if figures.get("seconds") is None:
                given_up.add(cls)


def flat(bench):
    """Six crowds: half as many rounds."""
    for turn in range((bench.repeat + 1) // 2):
        for cls in bench.systems((rivals.Ronda, rivals.Libtorrent, rivals.Udpcast)):
            if turn > 0 and not cls.is_ours:
                continue
            size = bench.pick(FLAT_LIBTORRENT_MIB if cls is rivals.Libtorrent else FLAT_MIB, 8)
            crowds = bench.pick(FLAT_CROWDS if cls.is_ours else FLAT_RIVAL_CROWDS, (1, 4, 8))
            for receivers in crowds:
                bench.hold("flat", cls, Setting(size, receivers, FLAT_MBIT))


def medium(bench):
    for turn in range(bench.repeat):
        for cls in bench.systems((rivals.Ronda, rivals.Libtorrent, rivals.Udpcast)):
            if turn == 0 or cls.is_ours:
                bench.hold("medium", cls, Setting(16, CROWD, RATE_MBIT))


def little(bench):
    for _ in range(bench.repeat):
        for cls in bench.systems((rivals.Ronda, rivals.Http, rivals.Libtorrent)):
            bench.hold("little", cls, Setting(1, CROWD, RATE_MBIT))


class Leaver:
    """Kills the source's daemon when it says that it may leave."""

    LOOK_EVERY_S = 0.025

    def __init__(self):
        self.next_s, self.left_s, self.sent_before, self.copies = 0.0, None, None, None

    def __call__(self, rival, seconds):
        if self.sent_before is None:
            self.sent_before = rival.source.counters()[1]
        if self.left_s is not None or seconds < self.next_s:
            return
        self.next_s = seconds + self.LOOK_EVERY_S
        if rival.status(rival.source).get("may_leave"):
            rival.source.daemon.kill()
            self.left_s = seconds
            self.copies = (rival.source.counters()[1] - self.sent_before) / rival.path.stat().st_size


def leave(bench):
    size = bench.pick(256, 32)
    for _ in range(bench.repeat if bench.wants(rivals.Ronda) else 0):
        leaver = Leaver()
        bench.hold("leave", rivals.Ronda, Setting(size, CROWD, RATE_MBIT, watch=leaver),
                   more=lambda _, it=leaver: {"left_s": it.left_s, "copies_when_left": it.copies})


MIXED = (10, 50, 100, 100)


def mixed(bench):
    """Each receiver against the time of one copy over its own link (the source's is as fast
    as the fastest)."""
    size = bench.pick(SHORT_MIB, 16)

    def classes(figures):
        worst = {}
        for rate, seconds in zip(MIXED, figures["times"]):
            if seconds is not None:
                ratio = seconds / limit_seconds(size * 2**20, rate)
                worst[str(rate)] = round(max(worst.get(str(rate), 0), ratio), 4)
        return {"classes": worst,
                "worst_class": max(worst.values()) if len(worst) == len(set(MIXED)) else None}

    for turn in range(bench.repeat):
        for cls in bench.systems((rivals.Ronda, rivals.Libtorrent)):
            if turn == 0 or cls.is_ours:
                bench.hold("mixed", cls, Setting(size, len(MIXED), max(MIXED), more_rates(MIXED)),
                           more=classes)


def more_rates(rates):
    return (max(rates), *rates)


class Sampler:
    """done_bytes of every receiver, from its daemon's API."""

    EVERY_S = 0.5

    def __init__(self):
        self.next_s, self.points = 0.0, []

    def __call__(self, rival, seconds):
        if seconds < self.next_s:
            return
        self.next_s = seconds + self.EVERY_S
        size = rival.path.stat().st_size
        parts = [round(rival.status(h).get("done_bytes", 0) / size, 4) for h in rival.receivers]
        self.points.append([round(seconds, 2), *parts])


def timeline(bench):
    size = bench.pick(256, 32)
    if bench.wants(rivals.Ronda):
        sampler = Sampler()
        bench.hold("timeline", rivals.Ronda, Setting(size, CROWD, RATE_MBIT, watch=sampler),
                   more=lambda figures: {"points": sampler.points})
