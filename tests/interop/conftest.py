"""Fixtures of the cases that need but a daemon or two. Needs root or unshare -Urnm (test.sh
sees to it)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import lan as lab  # noqa: E402


@pytest.fixture(scope="session")
def namespaces():
    if not lab.is_privileged():
        pytest.skip("no namespaces here: run as root, or under unshare -Urnm")


@pytest.fixture(scope="module")
def home(namespaces):
    """One host with a daemon that knows of no others, for all cases of a file."""
    with lab.Lan(hosts=1) as lan:
        lan[0].start_daemon(discovery="off")
        yield lan[0]


@pytest.fixture(scope="module")
def pair(namespaces):
    """Two hosts whose daemons know of each other."""
    with lab.Lan(hosts=["left", "right"]) as lan:
        lan.start_daemons()
        yield lan


@pytest.fixture
def make_home(namespaces):
    """make_home(...) = a host of its own with a daemon that knows of no others."""
    made = []

    def make(**options):
        made.append(lab.Lan(hosts=1))
        made[-1][0].start_daemon(discovery="off", **options)
        return made[-1][0]

    yield make
    complaints = lab.close_all(made)
    if complaints:
        pytest.fail("\n".join(complaints))
