"""More hosts than any of them links to (40)."""

from pathlib import Path

import pytest
from party import MIB, dest, make_file, sha256, share, transfer, wait_for

GUESTS = 44
SIZE = 12 * MIB


@pytest.fixture
def many_neighbours():
    """The kernel's tables of neighbours are for all namespaces together, and hold 1024."""
    limits = {path: path.read_text() for ip in ("ipv4", "ipv6") for path in
              sorted(Path(f"/proc/sys/net/{ip}/neigh/default").glob("gc_thresh[23]"), reverse=True)}
    try:
        for path in limits:
            path.write_text("8192")
    except OSError:
        pytest.skip("only root may let the kernel know so many neighbours")
    yield
    for path, before in reversed(limits.items()):
        path.write_text(before)


def test_a_crowd_that_knows_the_source_alone(make_lan, many_neighbours):
    lan = make_lan(GUESTS + 1, rate_mbit=8)
    source, guests = lan[0], lan.hosts[1:]
    source.start_daemon(discovery="off")
    for guest in guests:
        guest.start_daemon(discovery="off", peers=[f"{source.ip}:24724"])
    path = make_file(source.dir / "image.bin", SIZE)
    said = share(source, path, guests)
    jobs = [(g, g.ronda_start("get", said["id"], "-o", dest(g))) for g in guests]

    def done():
        return [transfer(g, said["id"]).get("done_bytes", 0) for g in guests]

    early = wait_for("each has got something", lambda: all(now := done()) and now, timeout_s=90)
    assert max(early) < SIZE, "who came last got nothing before the first was done"
    for guest, job in jobs:
        guest.ronda_end(job, timeout_s=300)
    assert {sha256(dest(g) / "image.bin") for g in guests} == {sha256(path)}
