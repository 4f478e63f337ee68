"""The goals: what was asked for, what was measured, whether it is reached, who comes nearest."""

from dataclasses import dataclass
from typing import Callable, Optional

import rivals

OURS = rivals.Ronda.name
RUNS_ENOUGH = 3   # with fewer the verdict says so
PIPE, PIPE_TO_FILE = (cls.name for cls in rivals.YARDSTICKS)


def label(system):
    cls = rivals.BY_NAME.get(system)
    return cls.label if cls else system.replace("_", " ")


def came_to_end(run):
    return "error" not in run and not ("seconds" in run and run["seconds"] is None)


def median_of_all(results, case, system, figure, receivers=None):
    """None unless every run came to an end: what failed must not leave a better median behind."""
    runs = results.runs(case, system, receivers)
    ended = all(came_to_end(run) for run in runs)
    return results.median(case, system, figure, receivers) if ended else None


def worst_over_crowds(results, case, system, figure="ratio"):
    """The worst of the medians over the numbers of receivers; None when a run did not finish."""
    medians = [median_of_all(results, case, system, figure, n)
               for n in results.receivers(case, system)]
    return max(medians) if medians and None not in medians else None


def quotient(above, below):
    return above / below if above is not None and below else None


@dataclass
class Goal:
    what: str
    limit: float
    value: Callable                  # (results, system) -> its figure, or None
    at_least: bool = False
    case: str = ""                   # whose other systems are the rivals
    unit: str = ""
    show_rivals: Optional[Callable] = None   # (results) -> text, when value() is not theirs
    remark: Optional[Callable] = None        # (results) -> text, beside our own figure

    def reached(self, value):
        return value >= self.limit if self.at_least else value <= self.limit

    def runs(self, results):
        """Of ours: the fewest with any number of receivers."""
        return min((len(results.runs(self.case, OURS, n))
                    for n in results.receivers(self.case, OURS)), default=0)

    def verdict(self, results):
        value, runs = self.value(results, OURS), self.runs(results)
        if value is None:
            ended = all(came_to_end(run) for run in results.runs(self.case, OURS))
            return "not measured" if ended else "failed"
        if not self.reached(value):
            return "not reached"
        return "reached" if runs >= RUNS_ENOUGH else f"reached {('once', 'twice')[runs - 1]}"

    def goal_text(self):
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"

    def value_text(self, results):
        value = self.value(results, OURS)
        if value is None:
            return "-"
        remark = f" ({self.remark(results)})" if self.remark else ""
        return f"{value:.{2 if value >= 10 else 3}f}{self.unit}{remark}"

    def best_rival(self, results):
        if self.show_rivals:
            return self.show_rivals(results) or "-"
        found = [(self.value(results, s), s) for s in results.systems(self.case)
                 if s not in (OURS, PIPE, PIPE_TO_FILE)]
        found = [pair for pair in found if pair[0] is not None]
        if not found:
            return "-"
        value, system = (max if self.at_least else min)(found)
        return f"{label(system)} {value:.2f}{self.unit}"


def of(case, figure):
    """Of systems that came to an end: who was stopped half-way has sent less, too."""
    def value(results, system):
        return median_of_all(results, case, system, figure)
    return value


def speeds(results):
    """GB/s of whoever moved the unshaped file."""
    found = []
    for system in results.systems("single"):
        seconds = results.median("single", system, "seconds")
        if seconds and system not in (OURS, PIPE, PIPE_TO_FILE):
            mib = results.median("single", system, "size_mib")
            found.append((mib * 2**20 / seconds / 1e9, system))
    return ", ".join(f"{label(s)} {v:.2f} GB/s" for v, s in sorted(found, reverse=True))


def against(case, figure, other, invert=False):
    """Theirs: of the runs that came to an end, which is the harder to beat."""
    def value(results, system):
        mine = median_of_all(results, case, system, figure)
        theirs = results.median(case, other, figure)
        return quotient(theirs, mine) if invert else quotient(mine, theirs)
    return value


def number_of(results, case, figure, form):
    return form.format(results.median(case, OURS, figure))


def figure_of(case, system, figure, unit):
    def text(results):
        value = results.median(case, system, figure)
        return None if value is None else f"{label(system)} {value:.2f}{unit}"
    return text


GOALS = (
    Goal("256 MiB, 100 Mbit/s, N=10: time / bound", 1.05, of("swarm", "ratio"), case="swarm"),
    Goal("the same, copies the source sent", 1.05, of("swarm", "copies"), case="swarm"),
    Goal("N = 1 to 24: worst time / bound", 1.08,
         lambda results, system: worst_over_crowds(results, "flat", system), case="flat"),
    Goal("16 MiB to 10 at 100 Mbit/s: time / bound", 1.35, of("medium", "ratio"), case="medium"),
    Goal("the source leaves after one copy: the others' time / bound", 1.10, of("leave", "ratio"),
         case="leave", show_rivals=lambda results: "none does it"),
    Goal("links of 10, 50, 100, 100 Mbit/s: worst class against its own bound", 1.10,
         of("mixed", "worst_class"), case="mixed"),
    Goal("1 GiB 1 → 1, not limited: speed against the bare TLS 1.3 + SHA-256 pipe", 0.85,
         against("single", "seconds", PIPE, invert=True), at_least=True, case="single",
         show_rivals=speeds),
    Goal("CPU seconds a GiB delivered, N=4: against libtorrent's", 0.7,
         against("cpu", "cpu_s_per_gib", "libtorrent"), case="cpu",
         show_rivals=figure_of("cpu", "libtorrent", "cpu_s_per_gib", " s/GiB")),
    Goal("10,000 × 10 KiB to 4: time against rsync's to one", 1.0,
         against("small", "seconds", "rsync"), case="small",
         show_rivals=figure_of("small", "rsync", "seconds", " s")),
    Goal("1 MiB to 10: from `get` to all done", 0.5, of("little", "seconds"), case="little",
         unit=" s"),
    Goal("100 GB sparse file, 40 neighbours: peak RSS", 64, of("memory", "peak_mib"), case="memory",
         unit=" MiB"),
    Goal("the scheduler, 65,536 chunks, 40 neighbours: CPU time a chunk received", 20,
         of("sched", "us_a_chunk"), case="sched", unit=" µs", show_rivals=lambda results: "-",
         remark=lambda results: number_of(results, "sched", "memory_mib", "{:.1f} MiB of memory")),
    Goal("hashing 4 GiB on all cores: against `openssl speed` on as many", 0.85,
         of("hash", "part_of_limit"), at_least=True, case="hash",
         show_rivals=lambda results: "-"),
)
