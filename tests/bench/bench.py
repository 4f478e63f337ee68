#!/usr/bin/python3
"""Benchmarks: ronda and what one would use instead, on the same LAN of namespaces, in one run.

    tests/bench/bench.py [options] [CASE...]     measures; all cases when none is named
    tests/bench/bench.py [--json FILE] report    table and plots again, from what was measured

Every figure goes to the JSON file as soon as it is there; cases measured one by one, or
again, join what is in it. Nothing else should run meanwhile.
"""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "lab"))

import cases  # noqa: E402
import contest  # noqa: E402
import machine  # noqa: E402
import report  # noqa: E402
import rivals  # noqa: E402
from lan import LabError, build_dir, ensure_privileges  # noqa: E402
from results import Results  # noqa: E402

RESULTS = HERE / "results"
TARGETS = ("rondad", "ronda", "tls-pipe", "sched-cost")
# How anything measured may fail without taking the run with it.
FAILURES = (LabError, rivals.RivalError, AssertionError, OSError, ValueError, LookupError,
            subprocess.SubprocessError)


class Bench:
    """What a case is given: the settings, and where its figures go."""

    def __init__(self, args, results, available):
        self.quick, self.repeat, self.rival_repeat = args.quick, args.repeat, args.rival_repeat
        self.results, self.available = results, available

    def pick(self, full, quick):
        return quick if self.quick else full

    def systems(self, classes):
        """Those of them that were asked for and are installed."""
        return [cls for cls in classes if cls in self.available]

    def wants(self, cls):
        return cls in self.available

    def hold(self, case, cls, setting, more=None, **about):
        """One contest, into the results -> its figures. more(figures) -> further ones."""
        def measure():
            figures = contest.hold(cls, setting)
            figures.update(more(figures) if more else {})
            return figures

        about = {"size_mib": setting.size_mib, "rate_mbit": setting.rate_mbit, **about}
        return self.attempt(case, cls.name, measure, receivers=setting.receivers, **about)

    def attempt(self, case, system, measure, receivers=1, **about):
        """measure() -> figures; when it fails, that is what is noted."""
        try:
            figures = measure()
        except FAILURES as error:
            figures = {"error": " ".join(str(error).split())[:400] or type(error).__name__}
        return self.note(case, system, receivers, **about, **figures)

    def note(self, case, system, receivers=1, **figures):
        run = self.results.add(case, system, receivers, **figures)
        print(f"  {case:9} {system:17} {report.run_line(run)}", flush=True)
        return run


def prepare(args):
    """Packages (when told to) and the build."""
    if args.install:
        script = '. "$1"; packages_need "${packages_build[@]}" "${packages_test[@]}" "${packages_bench[@]}"'
        subprocess.run(["bash", "-c", script, "bash", ROOT / "tests" / "packages.sh"], check=True)
    build = build_dir()
    configured = (build / "build.ninja").exists()
    # run.sh configures without the tests, and the yardstick is one of them.
    quietly("cmake", *(() if configured else ("--preset", "release")), "-S", ROOT, "-B", build,
            "-DRONDA_TESTS=ON")
    quietly("cmake", "--build", build, "--target", *TARGETS)


def quietly(*argv):
    """Its output is shown only when it fails, which ends everything."""
    done = subprocess.run(argv, cwd=ROOT, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout}failed: {' '.join(map(str, argv))}")


def choose_rivals(names):
    """The classes asked for that can run here; says which cannot."""
    found, lacking = [], set()
    for cls in rivals.BY_NAME.values():
        if names and cls.name not in names and cls not in rivals.YARDSTICKS:
            continue
        missing = rivals.missing_packages(cls)
        if missing:
            print(f"left out: {cls.label} (not installed: {', '.join(missing)})")
            lacking.update(missing)
        else:
            found.append(cls)
    if lacking:
        print("To have them all: --install, or apt-get install --no-install-recommends " +
              " ".join(sorted(lacking)))
    return found


def run_cases(names, bench, args):
    revision = machine.revision(ROOT)
    for name in names:
        if args.resume and bench.results.is_complete(name):
            print(f"{name}: measured already")
            continue
        function, about = cases.ALL[name]
        print(f"{time.strftime('%H:%M:%S')} {name}: {about}", flush=True)
        started = time.monotonic()
        bench.results.begin(name, revision, args.quick)
        try:
            function(bench)
        except FAILURES as error:
            print(f"  {name} broke down: {error}", flush=True)
            continue
        bench.results.end(name, time.monotonic() - started)


def count(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return number


def mistake(args):
    """What is wrong with the names on the command line; None: nothing."""
    for name in args.rivals or []:
        if name not in rivals.BY_NAME:
            hint = ": name cases before --rivals" if name in (*cases.ALL, "report") else "; see --help"
            return f"no rival is called {name}{hint}"
    if "report" in args.cases and len(args.cases) > 1:
        return "`report` stands alone: it measures nothing"
    unknown = [name for name in args.cases if name not in cases.ALL and name != "report"]
    return f"no case is called {unknown[0]}; see --help" if unknown else None


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="cases:\n" + "\n".join(f"  {n:10} {about}" for n, (_, about) in cases.ALL.items()) +
        "\n\nrivals: " + ", ".join(cls.name for cls in rivals.ALL))
    parser.add_argument("cases", nargs="*", metavar="CASE", help="see below; or: report")
    parser.add_argument("--quick", action="store_true", help="small files, once: does it all work?")
    parser.add_argument("--repeat", type=count, default=1, help="runs of ronda in each case (1)")
    parser.add_argument("--rival-repeat", type=count, help="runs of each rival in `swarm` (--repeat)")
    parser.add_argument("--rivals", nargs="+", metavar="NAME", help="only these (ronda is one)")
    parser.add_argument("--resume", action="store_true", help="leave out cases that are complete")
    parser.add_argument("--install", action="store_true", help="install what is missing, with apt")
    parser.add_argument("--json", type=Path, help="results (tests/bench/results/bench.json)")
    args = parser.parse_args(argv)
    wrong = mistake(args)
    if wrong:
        parser.error(wrong)
    args.rival_repeat = args.rival_repeat or args.repeat
    args.json = args.json or RESULTS / ("quick.json" if args.quick else "bench.json")
    return args


def measure(args):
    prepare(args)
    ensure_privileges()
    machine.choose_folder()
    available = choose_rivals(args.rivals)
    results = Results(args.json)
    packages = {p for cls in available for p in cls.tools.values()} | {"openssl", "iperf3"}
    results.describe(machine.describe(), machine.package_versions(packages))
    run_cases(args.cases or list(cases.ALL), Bench(args, results, available), args)


def leave_in_order(*_):
    sys.exit("stopped: --resume goes on with the case that was being measured")


def main():
    signal.signal(signal.SIGTERM, leave_in_order)
    signal.signal(signal.SIGINT, leave_in_order)
    args = parse(sys.argv[1:])
    if args.cases != ["report"]:
        measure(args)
    # The README shows the committed results only.
    readme = ROOT / "README.md" if args.json.resolve() == RESULTS / "bench.json" else None
    report.write(Results(args.json), args.json, readme)


if __name__ == "__main__":
    main()
