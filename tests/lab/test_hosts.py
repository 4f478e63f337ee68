"""Who is there and who is not: hosts found by mDNS, by --peer, and by both."""

import os
import time

import lan as lab
import pytest
from party import make_file, peers, rows, share, wait_for

STEADY_S = 3  # a session that is made anew again and again shows itself within


def sessions(host):
    """The ends of the TCP connections that this host has."""
    lines = host.ns.sh("ss -Htn state established").splitlines()
    return sorted(tuple(line.split()[2:4]) for line in lines)


def open_peers(host):
    return [p for p in peers(host) if p["state"] == "connected"]


def test_an_orderly_stop_takes_its_shares_along(pair):
    a, b = pair
    share(a, make_file(a.dir / "gone.bin", 1000), [b])
    a.daemon.stop()
    wait_for("nothing of it is listed", lambda: rows(b) == [])


def test_without_mdns_a_stop_takes_its_shares_along(make_lan):
    lan = make_lan(2)
    a, b = lan.hosts
    a.start_daemon(discovery="off")
    b.start_daemon(discovery="off", peers=[f"{a.ip}:24724"])
    share(a, make_file(a.dir / "gone.bin", 1000), [b])
    a.daemon.stop()
    wait_for("nothing of it is listed", lambda: rows(b) == [])


@pytest.mark.parametrize("fixed_first", [True, False])
def test_one_session_for_a_peer_that_is_found_twice(make_lan, fixed_first):
    lan = make_lan(2)
    a, b = lan.hosts if fixed_first else lan.hosts[::-1]
    a.start_daemon()
    b.start_daemon(peers=[f"{a.ip}:24724"])
    share(a, make_file(a.dir / "once.bin", 1000), [b])
    wait_for("one peer each", lambda: len(peers(a)) == len(peers(b)) == 1)
    wait_for("one session", lambda: len(sessions(a)) == 1)
    before = sessions(a)
    time.sleep(STEADY_S)
    assert sessions(a) == before
    assert len(open_peers(b)) == 1


def test_a_peer_that_is_ourselves_is_left_out(make_lan):
    lan = make_lan(1)
    a = lan.hosts[0]
    a.start_daemon(peers=[f"{a.ip}:24724"])
    wait_for("it is forgotten", lambda: peers(a) == [])
    assert a.daemon.log.read_text().count("this node itself") == 1


def test_a_fifo_for_a_boot_mark_does_not_hang_the_start(make_lan):
    lan = make_lan(1)
    a = lan.hosts[0]
    (a.dir / "runtime").mkdir(mode=0o700)
    os.mkfifo(a.dir / "runtime/boot-mark")
    with pytest.raises(lab.LabError, match="boot-mark.*remove it"):
        a.start_daemon()
    a.daemons.clear()


def test_a_runtime_directory_that_is_a_link_is_refused_before_it_is_used(make_lan):
    lan = make_lan(1)
    a = lan.hosts[0]
    (a.dir / "elsewhere").mkdir(mode=0o700)
    (a.dir / "runtime").symlink_to(a.dir / "elsewhere")
    with pytest.raises(lab.LabError, match="not safe"):
        a.start_daemon()
    a.daemons.clear()
    assert list((a.dir / "elsewhere").iterdir()) == []


def test_a_known_name_under_a_new_identity_is_told(pair):
    a, b = pair
    share(a, make_file(a.dir / "first.bin", 1000), [b])
    a.daemon.stop()
    a.start_daemon(fresh=True)
    share(a, make_file(a.dir / "second.bin", 1000), [b])
    assert b.daemon.log.read_text().count("name of another device") == 1
