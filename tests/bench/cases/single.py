"""Links that are not limited: what the software itself costs."""

import rivals
from contest import Setting


def single(bench):
    """In turn, with memory at hand: a new file's pages may cost as much as the transfer."""
    size = bench.pick(1024, 256)
    contenders = (rivals.Ronda, rivals.Http, rivals.Libtorrent, *rivals.YARDSTICKS)
    for _ in range(bench.repeat):
        for cls in bench.systems(contenders):
            bench.hold("single", cls, Setting(size, 1, warm=True))


def cpu(bench):
    size, receivers = bench.pick(512, 128), 4

    def per_gib(figures):
        delivered_gib = figures["finished"] * size / 1024
        return {"cpu_s_per_gib": figures["cpu_s"] / delivered_gib if delivered_gib else None}

    for _ in range(bench.repeat):
        for cls in bench.systems((rivals.Ronda, rivals.Libtorrent, rivals.Http)):
            bench.hold("cpu", cls, Setting(size, receivers, warm=True), more=per_gib)
