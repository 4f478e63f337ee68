#!/usr/bin/python3
"""Adds up JUnit files of ctest and pytest.

tally.py [--broken N] FILE...  prints "N passed, M failed, K skipped", exits 1 on failures
tally.py --failed FILE         exits 0 when the file tells of a failure

A Criterion suite is one test for ctest; its tests are counted from what it printed.
"""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

SYNTHESIS = re.compile(r"Synthesis: Tested:\D*(\d+)\D*Passing:\D*(\d+)\D*Failing:\D*(\d+)"
                       r"\D*Crashing:\D*(\d+)")
COLOUR = re.compile(r"(\x1b|#x1B|\[NON-XML-CHAR-0x1B\])\[[0-9;]*m")


def tally_case(case):
    """One <testcase> -> (passed, failed, skipped)."""
    failed = case.find("failure") is not None or case.find("error") is not None
    if case.find("skipped") is not None:
        return 0, 0, 1
    printed = COLOUR.sub("", "".join(case.itertext()))
    found = SYNTHESIS.search(printed)
    if not found:
        return (0, 1, 0) if failed else (1, 0, 0)
    tested, passing, failing, crashing = map(int, found.groups())
    bad = failing + crashing
    # A suite can also fail as a whole, e.g. by a leak found at its exit.
    if failed and bad == 0:
        bad = 1
    return passing, bad, max(0, tested - passing - failing - crashing)


def tally(path):
    try:
        cases = ET.parse(path).getroot().iter("testcase")
    except (OSError, ET.ParseError):
        return 0, 0, 0
    return tuple(map(sum, zip((0, 0, 0), *map(tally_case, cases))))


def main(argv):
    broken = 0
    if argv[:1] == ["--failed"]:
        return 0 if tally(argv[1])[1] else 1
    if argv[:1] == ["--broken"]:
        broken, argv = int(argv[1]), argv[2:]
    files = [path for path in argv if Path(path).exists()]
    passed, failed, skipped = map(sum, zip((0, broken, 0), *map(tally, files)))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
