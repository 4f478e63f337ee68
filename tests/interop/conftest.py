"""Fixtures of the cases that need but a daemon or two. Needs root or unshare -Urnm (test.sh
sees to it)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import lan as lab  # noqa: E402


@pytest.fixture(scope="module")
def home():
    """One host with a daemon that knows of no others, for all cases of a file."""
    if not lab.is_privileged():
        pytest.skip("no namespaces here: run as root, or under unshare -Urnm")
    with lab.Lan(hosts=1) as lan:
        lan[0].start_daemon(discovery="off")
        yield lan[0]


@pytest.fixture(scope="module")
def pair():
    """Two hosts whose daemons know of each other."""
    if not lab.is_privileged():
        pytest.skip("no namespaces here: run as root, or under unshare -Urnm")
    with lab.Lan(hosts=["left", "right"]) as lan:
        for host in lan.hosts:
            host.start_daemon()
        yield lan
