"""Who is on Wi-Fi sends only what nobody on a wire holds. Real daemons; the air itself is not there,
so what counts is who sent how much. Every case compares SHA-256.

No case asserts how long anything takes."""

import pytest
from party import (MIB, dest, get_all, get_all_without, make_file, peers, share, sha256, transfer,
                   wait_for)

SIZE = 16 * MIB
YES = "[node]\nwireless = yes\n"
NO = "[node]\nwireless = no\n"
# A few chunks may cross at the ends of a transfer; and who starves for 8 s is helped.
NEXT_TO_NOTHING = SIZE // 10


def radio(host):
    """Makes eth0 look like a wireless card to who looks into sysfs."""
    host.ns.sh("mount -t tmpfs none /sys/class/net && mkdir -p /sys/class/net/eth0/phy80211")


def party(make_lan, source, guests, rate_mbit=100):
    """Daemons with these settings, the first one sharing a file -> lan, what it said."""
    lan = make_lan(1 + len(guests), rate_mbit=rate_mbit)
    for host, config in zip(lan.hosts, [source, *guests]):
        host.start_daemon(config=config)
    path = make_file(lan.hosts[0].dir / "image.bin", SIZE)
    return lan, share(lan.hosts[0], path, lan.hosts[1:])


def all_get_it(lan, said):
    want = sha256(lan.hosts[0].dir / "image.bin")
    get_all(lan.hosts[1:], said["id"])
    assert [sha256(dest(h) / "image.bin") for h in lan.hosts[1:]] == [want] * (len(lan.hosts) - 1)


def sent(hosts, said):
    return sum(transfer(host, said["id"])["uploaded_bytes"] for host in hosts)


@pytest.mark.parametrize("config, wireless", [(None, True), (NO, False)])
def test_a_wireless_interface_is_seen(make_lan, config, wireless):
    lan = make_lan(2)
    a, b = lan.hosts
    radio(a)
    a.start_daemon(config=config)
    b.start_daemon()
    share(a, make_file(a.dir / "x.bin", 1000), [b])

    def ends(host):
        return [(p["wireless_here"], p["wireless"]) for p in peers(host) if p["state"] == "connected"]

    assert wait_for("a session", lambda: ends(a)) == [(wireless, False)]
    assert wait_for("a session", lambda: ends(b)) == [(False, wireless)]


def test_a_wired_source_serves_leaves_itself(make_lan):
    lan, said = party(make_lan, None, [YES] * 4)
    all_get_it(lan, said)
    assert sent(lan.hosts[1:], said) <= NEXT_TO_NOTHING


def test_leaves_let_the_wired_ones_send(make_lan):
    lan, said = party(make_lan, None, [None, None, YES, YES, YES])
    all_get_it(lan, said)
    assert sent(lan.hosts[3:], said) <= NEXT_TO_NOTHING
    assert sent(lan.hosts[1:3], said) > SIZE, "each leaf had its copy from somewhere"


def test_a_wireless_source_sends_one_copy(make_lan):
    lan, said = party(make_lan, YES, [None, None, YES, YES])
    all_get_it(lan, said)
    assert sent(lan.hosts[:1], said) <= SIZE + NEXT_TO_NOTHING
    assert sent(lan.hosts[3:], said) <= NEXT_TO_NOTHING


def test_leaves_alone_are_a_swarm(make_lan):
    lan, said = party(make_lan, YES, [YES] * 4)
    all_get_it(lan, said)
    assert sent(lan.hosts[1:], said) > SIZE // 4, "who sends is all the same to the air"


def test_leaves_go_on_when_the_wired_source_goes(make_lan):
    lan, said = party(make_lan, None, [YES] * 4, rate_mbit=50)
    source, guests = lan.hosts[0], lan.hosts[1:]
    want = sha256(source.dir / "image.bin")
    get_all_without(source, guests, said["id"])
    assert [sha256(dest(g) / "image.bin") for g in guests] == [want] * 4
    assert sent(guests, said) > SIZE
