#!/usr/bin/python3
"""options_test.py RONDA_SIM: every wrong option is answered with one sentence and exit 2.

Exits 1 and says which command line was answered otherwise.
"""

import subprocess
import sys

RUN_SECONDS = 20  # a run of these takes some ms
SMALL = "--peers 4 --chunks 8"

# Command line -> what the sentence must say.
WRONG = {
    "--peers abc": ["--peers", "'abc'", "1 to 19999"],
    "--peers 0": ["--peers", "1 to 19999"],
    "--peers -3": ["--peers", "'-3'"],
    "--peers +3": ["--peers", "'+3'"],
    "--peers 3x": ["--peers", "'3x'"],
    "--peers 2.5": ["--peers", "whole number"],
    "--peers 30000": ["--peers", "19999"],
    "--peers 4294967297": ["--peers", "19999"],
    "--peers 99999999999999999999999": ["--peers", "19999"],
    "--peers=": ["--peers", "''"],
    "--peers": ["--peers", "1 to 19999"],
    "--peers 19999 --sources 2": ["--peers", "--sources", "20000"],
    "--sources 0": ["--sources", "1 to 19999"],
    "--chunks 0": ["--chunks", "1 to 16777216"],
    "--chunk-bytes 0": ["--chunk-bytes", "1 to 1073741824"],
    "--runs 0": ["--runs", "1 to 1000000"],
    "--seed x": ["--seed", "0 to 18446744073709551615"],
    "--seed -1": ["--seed", "'-1'"],
    "--seed 18446744073709551616": ["--seed", "18446744073709551615"],
    "--mbit 0": ["--mbit", "0.001 to 1000000"],
    "--mbit -1": ["--mbit", "'-1'"],
    "--mbit nan": ["--mbit", "'nan'"],
    "--mbit inf": ["--mbit", "'inf'"],
    "--mbit 1e999": ["--mbit", "'1e999'"],
    "--mbit 0x10": ["--mbit", "'0x10'"],
    "--mbit 5,5": ["--mbit", "'5,5'"],
    "--source-factor 0": ["--source-factor"],
    "--slow-peers 5 --peers 4": ["--slow-peers", "--peers"],
    "--slow-up 0": ["--slow-up"],
    "--slow-down 0": ["--slow-down"],
    "--join-spread -1": ["--join-spread", "0 to 1000"],
    "--vanish 1": ["--vanish", "0 to 0.999"],
    "--vanish 2": ["--vanish", "0 to 0.999"],
    "--latency-min 3 --latency-max 2": ["--latency-min", "--latency-max"],
    "--latency-min -1": ["--latency-min"],
    "--queue-ms -1": ["--queue-ms"],
    "--queue-kib -1": ["--queue-kib"],
    "--peers 5 --stations 9": ["--stations", "--peers"],
    "--stations 2 --air 0": ["--air", "0.0001"],
    "--leaves": ["--leaves", "--stations"],
    "--source-air": ["--source-air", "--stations"],
    "--peers 4 --liars 4": ["--liars", "--peers"],
    "--peers 4 --liars 5": ["--liars", "--peers"],
    "--liars 1 --lie bogus": ["--lie", "'bogus'", "grant, have, complete"],
    "--ablate bogus": ["--ablate", "'bogus'", "none, expiry", "leaf-t"],
    "--valid-every x": ["--valid-every"],
    "--check foo": ["--check", "'foo'", "sweep, large, traps"],
    "--check --quick": ["--check", "'--quick'"],
    "--check sweep --peers 4": ["--check", "--quick", "--peers"],
    "--quick": ["--quick", "--check"],
    "--polite=yes": ["--polite", "no value"],
    "--nonsense": ["--nonsense", "--help"],
    "--sourc 3": ["--sourc", "--help"],
    "-x": ["-x", "--help"],
    "stray": ["'stray'", "--help"],
    "--peers 4 stray --chunks 8": ["'stray'", "--help"],
    "-- --peers": ["'--peers'", "--help"],
}

# Command line -> exit code, and what its output must say.
GOOD = {
    "--help": (0, ["--source-air", "--tell", "or more sources"]),
    SMALL: (0, ["ratio"]),
    SMALL + " --seed 12345678901234567890": (0, ["12345678901234567890"]),
    SMALL + " --mbit 1e2 --vanish .5 --sources 2": (0, ["ratio"]),
    SMALL + " --stations 2 --leaves --source-air --air 0.5": (0, ["ratio"]),
    SMALL + " --liars 3 --lie complete": (0, ["ratio"]),
    # Nobody waits for a liar that dies.
    "--peers 2 --chunks 64 --liars 1 --vanish 0.5": (0, ["ratio"]),
    "--peers 1 --chunks 1 --chunk-bytes 1": (0, ["ratio"]),
    # All of the time allowed is over before the first message is there.
    SMALL + " --latency-min 60000 --latency-max 60000": (1, ["STALLED"]),
}


def run(sim, line):
    return subprocess.run([sim, *line.split()], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=RUN_SECONDS, check=False)


def wrong_check(sim, line, words):
    got = run(sim, line)
    if got.returncode != 2 or got.stdout:
        return f"exit {got.returncode}, stdout {got.stdout!r}"
    if got.stderr.count("\n") != 1 or not got.stderr.startswith("ronda-sim: "):
        return f"not one sentence: {got.stderr!r}"
    lacks = [w for w in words if w not in got.stderr]
    return f"{got.stderr.strip()!r} lacks {lacks}" if lacks else None


def good_check(sim, line, wanted):
    code, words = wanted
    got = run(sim, line)
    if got.returncode != code or got.stderr:
        return f"exit {got.returncode}, stderr {got.stderr!r}"
    if "nan" in got.stdout.lower() or " -" in got.stdout.replace("[--", ""):
        return f"no figures: {got.stdout!r}"
    lacks = [w for w in words if w not in got.stdout]
    return f"{got.stdout!r} lacks {lacks}" if lacks else None


def main():
    sim, bad = sys.argv[1], 0
    for check, table in ((wrong_check, WRONG), (good_check, GOOD)):
        for line, wanted in table.items():
            try:
                fault = check(sim, line, wanted)
            except subprocess.TimeoutExpired:
                fault = f"still runs after {RUN_SECONDS} s"
            if fault:
                bad += 1
                print(f"ronda-sim {line}: {fault}")
    print(f"{len(WRONG) + len(GOOD)} command lines, {bad} answered wrongly")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
