"""Table and plots from the results: Markdown and SVG beside the JSON, and the README's block.
No figure is written here: all come from the JSON."""

import rivals
from goals import GOALS, OURS, PIPE, PIPE_TO_FILE, label, quotient
from plot import BOTTOM, COLOURS, HEIGHT, LABEL_PX, LEFT, WIDTH, Chart

BEGIN = "<!-- figures: begin (tests/bench/bench.py report writes this) -->"
END = "<!-- figures: end -->"
HIDDEN = {"case", "system", "times", "progress", "points", "size_mib", "rate_mbit", "bound_s",
          "limit_s", "stolen"}


def run_line(run):
    """One run, for the terminal."""
    if "error" in run:
        return f"N={run['receivers']} FAILED: {run['error']}"
    parts = []
    for key, value in run.items():
        if key not in HIDDEN and value is not None:
            parts.append(f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}")
    if "seconds" in run and run["seconds"] is None:
        parts.append(f"STOPPED after {run['limit_s']:.0f} s")
    return ", ".join(parts)


def number(value, digits=2, unit=""):
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def spread(values, digits=2):
    """median, and the range when there are several."""
    if not values:
        return "-"
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    if len(ordered) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({ordered[0]:.{digits}f} to {ordered[-1]:.{digits}f})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def all_systems():
    return [cls.name for cls in rivals.ALL]


def in_order(results, case):
    measured = results.systems(case)
    return [s for s in all_systems() if s in measured] + [s for s in measured if s not in all_systems()]


# --- the tables --------------------------------------------------------------------------------

def goals_table(results):
    return table(("what", "goal", "measured", "", "runs", "best rival in the same run"),
                 [(g.what, g.goal_text(), g.value_text(results), f"**{g.verdict(results)}**"
                   if g.verdict(results) == "reached" else g.verdict(results),
                   g.runs(results) or "-", g.best_rival(results)) for g in GOALS])


def outcome(results, case, system, receivers=None):
    """time / bound, or why there is none."""
    values = results.values(case, system, "ratio", receivers)
    if values:
        return spread(values)
    runs = results.runs(case, system, receivers)
    stopped = [r for r in runs if "limit_s" in r]
    if stopped:
        run = stopped[-1]
        return (f"stopped after {run['limit_s'] / run['bound_s']:.0f}: {run['finished']} of "
                f"{run['receivers']} done")
    return "failed" if runs else "-"


def swarm_table(results):
    rows = []
    for system in in_order(results, "swarm"):
        cls = rivals.BY_NAME[system]
        rows.append((f"**{label(system)}**" if system == OURS else label(system), cls.note,
                     number(results.median("swarm", system, "size_mib"), 0, " MiB"),
                     number(results.median("swarm", system, "seconds"), 1, " s"),
                     outcome(results, "swarm", system),
                     number(results.median("swarm", system, "copies")),
                     number(results.median("swarm", system, "first_byte_s"), 1, " s"),
                     number(results.median("swarm", system, "cpu_s"), 1, " s"),
                     percent(results.median("swarm", system, "busy")),
                     len(results.runs("swarm", system))))
    return table(("to 10 at 100 Mbit/s", "on the way", "file", "time", "time / bound",
                  "copies the source sent", "until 0.5 % had left", "its CPU time", "machine busy",
                  "runs"), rows)


def percent(value):
    return "-" if value is None else f"{100 * value:.0f} %"


def rates(runs):
    """Mbit/s of all links: crowds may be measured at different rates, each against its bound."""
    found = sorted({run["rate_mbit"] for run in runs})
    return " to ".join(f"{rate:g}" for rate in found)


def flat_table(results):
    systems = in_order(results, "flat")
    crowds = sorted({r["receivers"] for r in results.runs("flat")})
    rows = []
    for n in crowds:
        cells = [n, rates([r for r in results.runs("flat") if r["receivers"] == n])]
        for system in systems:
            cells += [outcome(results, "flat", system, n),
                      number(results.median("flat", system, "copies", n)),
                      percent(results.median("flat", system, "busy", n))]
        rows.append(cells)
    head = ["N", "Mbit/s"]
    for system in systems:
        head += [f"{label(system)}: time / bound", "copies", "busy"]
    return table(head, rows)


def single_table(results):
    pipe = results.median("single", PIPE, "seconds")
    rows = []
    for system in in_order(results, "single"):
        seconds = results.median("single", system, "seconds")
        mib = results.median("single", system, "size_mib")
        rows.append((label(system), getattr(rivals.BY_NAME[system], "note", ""),
                     spread(results.values("single", system, "seconds")),
                     number(quotient(mib and mib * 2**20 / 1e9, seconds)),
                     number(quotient(pipe, seconds)), len(results.runs("single", system))))
    return table(("1 → 1, not limited", "on the way", "s", "GB/s", "of the bare pipe", "runs"), rows)


def plain_table(results, case, columns):
    """columns: (heading, figure, digits)."""
    rows = [(label(system), *(spread(results.values(case, system, figure), digits)
                              for _, figure, digits in columns), len(results.runs(case, system)))
            for system in in_order(results, case)]
    return table(("", *(heading for heading, _, _ in columns), "runs"), rows)


def mixed_table(results):
    rows = []
    for system in in_order(results, "mixed"):
        classes = [r["classes"] for r in results.runs("mixed", system) if r.get("classes")]
        rates = sorted({rate for c in classes for rate in c}, key=float)
        rows.append((label(system), "; ".join(
            f"{rate} Mbit/s: {spread([c[rate] for c in classes if rate in c])}" for rate in rates),
            len(results.runs("mixed", system))))
    return table(("", "time / own bound", "runs"), rows)


TIMES = (("time / bound", "ratio", 2), ("s", "seconds", 2), ("copies", "copies", 2))
PLAIN = {
    "medium": TIMES,
    "little": (("from `get` to all done, s", "seconds", 3), ("copies", "copies", 2)),
    "leave": (("others' time / bound", "ratio", 3), ("source left after, s", "left_s", 1),
              ("copies sent by then", "copies_when_left", 3)),
    "cpu": (("CPU s a GiB delivered", "cpu_s_per_gib", 2), ("s", "seconds", 2)),
    "small": (("s", "seconds", 2), ("receivers", "receivers", 0)),
    "hash": (("files", "files", 0), ("s", "seconds", 2), ("GB/s", "gb_s", 2),
             ("of openssl speed on all cores (cold: of reading it)", "part_of_limit", 2),
             ("unchanged, again, s", "again_seconds", 3), ("an answer meanwhile, ms", "answer_ms", 0),
             ("repeated", "repeated", 0)),
    "memory": (("source, MiB", "source_peak_mib", 1), ("receivers' worst, MiB", "receiver_peak_mib", 1),
               ("neighbours of the source", "neighbours", 0), ("all received, MiB", "received_mib", 0)),
    "sched": (("µs a chunk received", "us_a_chunk", 1), ("messages a chunk", "messages_a_chunk", 0),
              ("chunks", "chunks", 0), ("memory, MiB", "memory_mib", 2)),
    "idle": (("wake-ups a second", "wakeups_per_s", 2), ("CPU ms a second", "cpu_ms_per_s", 2),
             ("RSS, MiB", "rss_mib", 1)),
    "calibrate": (("GB/s", "gb_s", 2), ("1 GiB, s", "seconds", 2),
                  ("s a GiB written, as it comes", "cold_s_per_gib", 2),
                  ("right after", "warm_s_per_gib", 2)),
}
SPECIAL = {"swarm": swarm_table, "flat": flat_table, "single": single_table, "mixed": mixed_table}


def machine_line(results):
    m = results.doc["machine"]
    if not m:
        return ""
    return (f"{m['cores']} cores ({m['cpu']}), {m['memory_gib']} GiB, virtual machine: {m['virtual']}, "
            f"Linux {m['kernel']}, {m['system']}, files on {m['files_on']}")


def calibration_line(results):
    found = []
    for system, name in (("iperf3", "iperf3"), ("openssl_sha256", "SHA-256 on one core")):
        value = results.median("calibrate", system, "gb_s")
        if value:
            found.append(f"{name} {value:.2f} GB/s")
    seconds = results.median("calibrate", PIPE, "seconds")
    if seconds:
        mib = results.median("calibrate", PIPE, "size_mib")
        found.append(f"a bare TLS 1.3 + SHA-256 pipe {mib * 2**20 / seconds / 1e9:.2f} GB/s")
    cold, warm = (results.median("calibrate", "memory", f"{k}_s_per_gib") for k in ("cold", "warm"))
    if cold and warm:
        found.append(f"writing a new file of 1 GiB in memory {cold:.2f} s as it comes, "
                     f"{warm:.2f} s right after another was dropped")
    return "; ".join(found)


def markdown(results):
    import cases
    quick = any(facts["quick"] for facts in results.doc["cases"].values())
    parts = ["# Figures", "**A quick try with small files: no goal is decided by it.**" if quick else "", "Written by `tests/bench/bench.py`; [README](../README.md) says how.",
             f"Machine: {machine_line(results)}.", f"Calibration: {calibration_line(results)}.",
             "Medians; in brackets the least and the most of the runs. bound = size × 8 / (rate × "
             "0.953), the time of one copy over one link; copies: bytes on the source's interface / "
             "size, headers included (TCP's once in 8 KiB: 1 %; udpcast's 4 %); machine busy: all "
             "that ran, the emulated network included.",
             "## Goals", goals_table(results), *(f"![{alt}]({name})" for name, alt in PLOTS.items())]
    for case, (_, about) in cases.ALL.items():
        if not results.runs(case) or case == "timeline":
            continue
        facts = results.doc["cases"].get(case, {})
        parts += [f"## {case}: {about}", run_facts(facts),
                  SPECIAL[case](results) if case in SPECIAL else
                  plain_table(results, case, PLAIN[case])]
    versions = ", ".join(f"{k} {v}" for k, v in sorted(results.doc["versions"].items()))
    parts += ["## Versions", versions + "."]
    return "\n\n".join(part for part in parts if part) + "\n"


def run_facts(facts):
    if not facts:
        return ""
    took = f", {facts['took_s'] / 60:.0f} min" if "took_s" in facts else ", not complete"
    return (f"{facts['at']} UTC, commit {facts['revision']}{took}"
            f"{', quick' if facts['quick'] else ''}.")


# --- the plots -----------------------------------------------------------------------------------

PLOTS = {"time.svg": "time / bound against the number of receivers",
         "copies.svg": "copies the source sent against the number of receivers",
         "timeline.svg": "who holds how much, over time"}


def colour(system):
    names = all_systems()
    return COLOURS[names.index(system) % len(COLOURS)] if system in names else "#555555"


def against_crowd(results, figure, title, y_name):
    systems = in_order(results, "flat")
    lines = {s: [(n, results.median("flat", s, figure, n)) for n in results.receivers("flat", s)]
             for s in systems}
    lines = {s: [(n, v) for n, v in points if v is not None] for s, points in lines.items()}
    lines = {s: points for s, points in lines.items() if points}
    if not lines:
        return None
    crowds = sorted({n for points in lines.values() for n, _ in points})
    top = max(v for points in lines.values() for _, v in points)
    run = (results.runs("flat", OURS) or results.runs("flat"))[-1]
    title += f": {run['size_mib']:g} MiB, every link {rates(results.runs('flat'))} Mbit/s"
    chart = Chart(title, "receivers", y_name, max(crowds), max(top, 1.5), crowds)
    # Nobody is below the bound: that is where the legend has room.
    legend_at = (LEFT + 14, HEIGHT - BOTTOM - LABEL_PX * (len(lines) + 1))
    chart.line("the bound: one copy", [(0, 1), (max(crowds), 1)], "#555555", width=1.2, dash="4 3")
    for system, points in lines.items():
        chart.line(label(system), points, colour(system), dots=True)
    return chart.svg(legend_at)


def timeline_plot(results):
    runs = [r for r in results.runs("timeline", OURS) if r.get("points")]
    if not runs:
        return None
    run = runs[-1]
    others = [(s, next((r for r in results.runs("swarm", s) if r.get("progress")), None))
              for s in in_order(results, "swarm") if s != OURS]
    others = [(s, r) for s, r in others if r and r["size_mib"] == run["size_mib"]]
    end = max([run["points"][-1][0], *(r["progress"][-1][0] for _, r in others)])
    chart = Chart(f"Who holds how much: {run['size_mib']:g} MiB to {run['receivers']} at "
                  f"{run['rate_mbit']:g} Mbit/s (rivals: the mean)", "seconds", "% held", end, 100)
    chart.line("the bound", [(0, 0), (run["bound_s"], 100)], "#555555", width=1.2, dash="4 3")
    for index in range(run["receivers"]):
        chart.line("ronda, each receiver" if index == 0 else "",
                   [(0, 0), *((p[0], 100 * p[1 + index]) for p in run["points"])], colour(OURS), width=1)
    for system, other in others:
        chart.line(label(system), [(t, 100 * part) for t, part in other["progress"]],
                   colour(system), width=1.6, dash="6 3")
    return chart.svg(legend_at=(WIDTH - 190, 190))


def plots(results):
    return {"time.svg": against_crowd(results, "ratio", "Time / bound", "time / bound"),
            "copies.svg": against_crowd(results, "copies", "Copies the source sent", "copies"),
            "timeline.svg": timeline_plot(results)}


# --- files -----------------------------------------------------------------------------------------

def readme_block(results):
    dates = sorted({c["at"].split()[0] for c in results.doc["cases"].values()})
    folder = "tests/bench/results"
    drawn = [name for name, svg in plots(results).items() if svg]
    return "\n\n".join((
        BEGIN,
        f"Measured with `tests/bench/bench.py` ({' to '.join(dict.fromkeys((dates[0], dates[-1])))}): real "
        f"daemons in network namespaces on one machine, {machine_line(results)}. The same run's "
        f"calibration: {calibration_line(results)}. bound = size × 8 / (rate × 0.953), the time of one "
        f"copy. Copies: bytes on the source's interface / size, headers included (TCP's once in 8 KiB: "
        f"1 %; udpcast's 4 %). [All tables]({folder}/bench.md), [how it is measured](tests/bench/README.md).",
        goals_table(results), swarm_table(results),
        "\n".join(f"![{PLOTS[name]}]({folder}/{name})" for name in drawn), END))


def fill(path, block):
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{path} has no block for the figures")
    before, rest = text.split(BEGIN, 1)
    path.write_text(before + block + rest.split(END, 1)[1])


def write(results, json_path, readme=None):
    """bench.md and the plots go beside the JSON; the README's block is filled when one is given."""
    folder = json_path.parent
    stem = json_path.stem
    prefix = "" if stem == "bench" else f"{stem}-"
    text = markdown(results)
    for name, svg in plots(results).items():
        if svg:
            (folder / (prefix + name)).write_text(svg)
        text = text.replace(f"]({name})", f"]({prefix}{name})") if svg else \
            "\n".join(line for line in text.split("\n") if f"]({name})" not in line)
    (folder / f"{stem}.md").write_text(text)
    print(f"\n{goals_table(results)}\n\nwritten: {folder / stem}.md")
    if readme and results.doc["runs"]:
        fill(readme, readme_block(results))
