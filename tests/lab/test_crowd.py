"""More hosts than any of them links to (40)."""

from pathlib import Path

import pytest
from party import MIB, dest, get_start_all, make_file, sha256, share, transfer, wait_for

GUESTS = 44
SIZE = 12 * MIB


@pytest.fixture
def many_neighbours():
    """The kernel's tables of neighbours are for all namespaces together, and hold 1024."""
    limits = [Path(f"/proc/sys/net/{ip}/neigh/default/gc_thresh{n}")
              for n in (3, 2) for ip in ("ipv4", "ipv6")]
    before = {}
    try:
        for path in limits:
            before[path] = path.read_text()
            path.write_text("8192")
        yield
    except OSError:
        pytest.skip("only root may let the kernel know so many neighbours")
    finally:
        for path in reversed(before):
            path.write_text(before[path])


@pytest.fixture
def crowd(make_lan, many_neighbours):
    """A source and its guests, who know of nobody else, and get its share -> what they are asked."""
    lan = make_lan(GUESTS + 1, rate_mbit=8)
    lan[0].start_daemon(discovery="off")
    for guest in lan.hosts[1:]:
        guest.start_daemon(discovery="off", peers=[f"{lan[0].ip}:24724"])
    return Crowd(lan[0], lan.hosts[1:])


class Crowd:
    def __init__(self, source, guests):
        self.source, self.guests = source, guests
        self.path = make_file(source.dir / "image.bin", SIZE)
        self.id = share(source, self.path, guests)["id"]
        self.jobs = get_start_all(guests, self.id)

    def done(self):
        return [transfer(g, self.id).get("done_bytes", 0) for g in self.guests]

    def finish(self):
        for guest, job in self.jobs:
            guest.ronda_end(job, timeout_s=300)
        assert {sha256(dest(g) / "image.bin") for g in self.guests} == {sha256(self.path)}


def test_each_of_a_crowd_finds_a_place(crowd):
    early = wait_for("each has got something", lambda: all(now := crowd.done()) and now,
                     timeout_s=90)
    assert max(early) < SIZE, "who came last got nothing before the first was done"
    crowd.finish()


def test_a_crowd_goes_on_when_its_source_was_started_again(crowd):
    wait_for("some have a part of it", lambda: max(crowd.done()) > SIZE / 4, timeout_s=90)
    crowd.source.daemon.kill()
    assert max(crowd.done()) < SIZE * 0.9
    crowd.source.start_daemon(discovery="off")
    crowd.finish()
