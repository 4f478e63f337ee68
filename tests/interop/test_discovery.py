"""Discovery alone, on LANs of network namespaces: embedded mDNS, a real avahi-daemon,
changes between the two, interfaces that come and go, forged records.

disco-probe prints what discovery tells as JSON lines. Every wait is a poll with a
generous deadline: what is asked for is that it happens, the figures are printed.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import lan as lab  # noqa: E402
from party import wait_for  # noqa: E402

DEADLINE_S = 30

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
"""
AVAHI_CONFIG = """[server]
use-ipv4=yes
use-ipv6=yes
ratelimit-interval-usec=1000000
ratelimit-burst=1000
[publish]
publish-workstation=no
publish-hinfo=no
"""


@pytest.fixture
def make_lan(namespaces):
    made = []

    def make(*args, **options):
        made.append(lab.Lan(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def wait_until(condition, what):
    return wait_for(what, condition, DEADLINE_S)


class Probe:
    """disco-probe on a host."""

    count = 0

    def __init__(self, host, name=None, mode="embedded", env=None, wrap=()):
        Probe.count += 1
        # The host label is made of the first four bytes: different, as NodeIDs are.
        self.id = f"{0x51000000 + Probe.count:08x}{os.getpid() & 0xffffffff:08x}"
        self.name = name or f"probe {Probe.count}"
        self.host, self.path = host, host.dir / f"probe-{Probe.count}.log"
        with open(self.path, "wb") as out:
            self.process = host.popen(
                [*wrap, lab.binary("tests/disco-probe"), "--name", self.name, "--id", self.id,
                 "--mode", mode, "--port", str(4000 + Probe.count % 1000)],
                env=env, stdout=out, stderr=subprocess.STDOUT)

    def events(self, kind=None):
        docs = []
        for line in self.path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                try:
                    docs.append(json.loads(line))
                except ValueError:
                    raise AssertionError(f"disco-probe: {self.path.read_text()}") from None
        return [d for d in docs if kind in (None, d["event"])]

    def known(self):
        """id -> the last `found` of each peer that is not lost."""
        peers = {}
        for doc in self.events():
            if doc["event"] == "found":
                peers[doc["id"]] = doc
            elif doc["event"] == "lost":
                peers.pop(doc["id"], None)
        return peers

    def describe(self):
        return f"{self.name}: {self.path.read_text()[-3000:]}"

    def wait_for(self, other, condition=lambda peer: True):
        def check():
            peer = self.known().get(other.id)
            return peer if peer and condition(peer) else None

        return wait_until(check, lambda: f"{other.name} known to {self.describe()}")

    def wait_lost(self, other):
        wait_until(lambda: other.id not in self.known(), lambda: f"{other.name} lost by {self.describe()}")

    def wait_state(self, backend, text, after=0):
        def check():
            return [d for d in self.events("state")[after:]
                    if d["backend"] == backend and text in d["what"]]

        return wait_until(check, lambda: f"{backend}: {text} in {self.describe()}")[0]

    def lost(self, other):
        return [d for d in self.events("lost") if d["id"] == other.id]

    def stop(self):
        """SIGTERM; it must leave by itself."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE_S) == 0, self.describe()

    def rss_kib(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0


class System:
    """A D-Bus system bus and an avahi-daemon of a host's own."""

    def __init__(self, host):
        self.host, self.bus, self.avahi = host, None, None
        self.socket = host.dir / "bus"
        self.env = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.socket}"}
        (host.dir / "bus.conf").write_text(BUS_CONFIG.format(path=self.socket))
        (host.dir / "avahi.conf").write_text(AVAHI_CONFIG)

    def start_bus(self):
        self.bus = self.host.popen(["dbus-daemon", f"--config-file={self.host.dir}/bus.conf",
                                    "--nofork", "--nopidfile"], stderr=subprocess.DEVNULL)
        wait_until(self.socket.exists, "socket of the bus")

    def start_avahi(self):
        self.host.ns.sh("mkdir -p /run/avahi-daemon")
        self.avahi = self.host.popen(
            ["avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits", "-f",
             f"{self.host.dir}/avahi.conf"],
            env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop_avahi(self, number=signal.SIGTERM):
        self.avahi.send_signal(number)
        self.avahi.wait(DEADLINE_S)
        self.host.ns.sh("rm -f /run/avahi-daemon/pid /run/avahi-daemon/socket")

    def browse(self):
        """instance name -> list of avahi-browse's resolved lines."""
        done = self.host.run(["avahi-browse", "-rpt", "_ronda._tcp"], env=self.env, check=False)
        found = {}
        for line in done.stdout.splitlines():
            fields = line.split(";")
            if fields[0] == "=":
                found.setdefault(fields[3].replace("\\032", " "), []).append(fields)
        return found


def need_avahi():
    for tool in ("dbus-daemon", "avahi-daemon", "avahi-browse"):
        if subprocess.run(["sh", "-c", f"command -v {tool}"], stdout=subprocess.DEVNULL,
                          check=False).returncode:
            pytest.skip(f"{tool} is not installed")


def system_on(host):
    """A System that runs; where there is no avahi-daemon, the case is skipped."""
    need_avahi()
    system = System(host)
    system.start_bus()
    system.start_avahi()
    return system


def both_families(peer):
    kinds = {":" in address for address in peer["addrs"]}
    return kinds == {True, False}


def test_five_find_each_other_over_both_families(make_lan):
    lan = make_lan(5)
    probes = [Probe(host) for host in lan.hosts]
    started = max(p.events()[0]["at"] for p in probes if wait_until(p.events, "start"))
    for one in probes:
        for other in probes:
            if one is not other:
                peer = one.wait_for(other, both_families)
                assert peer["name"] == other.name
                for address in peer["addrs"]:
                    assert ("%" in address) == address.startswith("fe80"), address
        assert one.id not in one.known(), "found itself"
    firsts = [next(d["at"] for d in one.events("found") if d["id"] == other.id)
              for one in probes for other in probes if one is not other]
    print(f"five hosts knew each other {max(firsts) - started:.2f} s after the last had started")


def test_only_link_local_ipv6(make_lan):
    lan = make_lan(2, ipv4=False)
    a, b = Probe(lan[0]), Probe(lan[1])
    peer = a.wait_for(b)
    assert [x.split("%")[0] for x in peer["addrs"]] == [lan[1].link_local()]
    assert all(x.endswith(f"%{i}") for x, i in zip(peer["addrs"], peer["ifindexes"]))
    b.wait_for(a)


def test_goodbye_is_a_loss_at_once(make_lan):
    lan = make_lan(2)
    a, b = Probe(lan[0]), Probe(lan[1])
    a.wait_for(b)
    before = time.monotonic()
    b.stop()
    a.wait_lost(b)
    print(f"lost {time.monotonic() - before:.2f} s after the stop")


def test_new_catalogue_version_is_told_and_coalesced(make_lan):
    lan = make_lan(2)
    a, b = Probe(lan[0]), Probe(lan[1])
    a.wait_for(b)
    b.process.send_signal(signal.SIGUSR1)
    peer = a.wait_for(b, lambda p: p["catalog"] == 2)
    assert peer["flags"] == 1
    for _ in range(5):  # faster than TXT may change: the last one must win
        b.process.send_signal(signal.SIGUSR1)
        time.sleep(0.05)
    a.wait_for(b, lambda p: p["catalog"] == 7)
    told = [d["catalog"] for d in a.events("found") if d["id"] == b.id]
    assert len(set(told)) < 7, "not coalesced"


def test_same_name_is_renamed(make_lan):
    lan = make_lan(2)
    a = Probe(lan[0], name="guest")
    a.wait_state("embedded", "published")
    b = Probe(lan[1], name="guest")
    b.wait_state("embedded", 'renamed to "guest #2"')
    b.wait_state("embedded", 'published as "guest #2"')
    assert b.wait_for(a)["name"] == "guest"
    assert a.wait_for(b)["name"] == "guest #2"


def test_names_that_need_care(make_lan):
    lan = make_lan(2)
    names = ['An\u00e1\'s. laptop \\ "1"', "x" * 61 + "\U0001f9c9"]
    a, b = Probe(lan[0], name=names[0]), Probe(lan[1], name=names[1])
    # The probe writes bytes as if they were characters.
    assert b.wait_for(a)["name"].encode("latin-1").decode() == names[0]
    assert a.wait_for(b)["name"] == "x" * 61


def wire(one, other, dev_one, dev_other, net):
    """A cable of its own between two hosts."""
    one.ns.sh(f"ip link add {dev_one} type veth peer name {dev_other} netns {other.ns.holder.pid};"
              f"ip addr add {net}.1/24 dev {dev_one}; ip link set {dev_one} up")
    other.ns.sh(f"ip addr add {net}.2/24 dev {dev_other}; ip link set {dev_other} up")


def test_interface_that_comes_and_goes(make_lan):
    lan = make_lan(2)
    for host in lan.hosts:
        host.ns.sh("ip link set eth0 down")
    a, b = Probe(lan[0]), Probe(lan[1])
    a.wait_state("embedded", "no interface yet")
    for host in lan.hosts:
        host.ns.sh("ip link set eth0 up")
    plugged = time.monotonic()
    a.wait_for(b)
    b.wait_for(a)
    print(f"found {time.monotonic() - plugged:.2f} s after the interface came up")
    assert a.events("network")
    wire(lan[0], lan[1], "eth1", "eth1", "10.88.0")
    a.wait_for(b, lambda p: "10.88.0.2" in p["addrs"] and lan[1].ip in p["addrs"])
    lan[0].ns.sh("ip link del eth1")
    peer = a.wait_for(b, lambda p: "10.88.0.2" not in p["addrs"])
    assert lan[1].ip in peer["addrs"]
    assert not a.lost(b)


def test_cable_pulled_and_put_back(make_lan):
    lan = make_lan(2)
    a, b = Probe(lan[0]), Probe(lan[1])
    a.wait_for(b)
    lan[0].link(False)
    a.wait_lost(b)
    lan[0].link(True)
    a.wait_for(b)


def test_virtual_interfaces_are_skipped(make_lan):
    lan = make_lan(2)
    lan[0].ns.sh("ip link del eth0")
    wire(lan[0], lan[1], "docker0", "eth1", "10.88.1")
    wire(lan[0], lan[1], "veth7", "eth2", "10.88.2")
    a, b = Probe(lan[0]), Probe(lan[1])
    a.wait_state("embedded", "no interface yet")
    wire(lan[0], lan[1], "lan0", "eth3", "10.88.3")
    in_peer = b.wait_for(a, both_families)["addrs"]
    a.wait_for(b)
    assert "10.88.3.1" in in_peer
    assert not {"10.88.1.1", "10.88.2.1"} & set(in_peer)
    eth3 = json.loads(lan[1].ns.sh("ip -j link show dev eth3"))[0]["ifindex"]
    assert set(b.known()[a.id]["ifindexes"]) == {eth3}


def test_two_on_one_host(make_lan):
    lan = make_lan(2)
    a, b, c = Probe(lan[0]), Probe(lan[0]), Probe(lan[1])
    a.wait_for(b)
    b.wait_for(a)
    c.wait_for(a)
    c.wait_for(b)


def test_real_daemon_sees_us_and_serves_us(make_lan):
    lan = make_lan(2)
    system = system_on(lan[0])
    b = Probe(lan[1], name="embedded one")
    wait_until(lambda: {f[2] for f in system.browse().get(b.name, [])} >= {"IPv4", "IPv6"},
               lambda: f"{b.name} in {system.browse()} {b.describe()}")
    line = system.browse()[b.name][0]
    assert f'"id={b.id}"' in line[9] and '"v=1"' in line[9], line
    a = Probe(lan[0], mode="system", env=system.env)
    a.wait_state("avahi-daemon", "published")
    b.wait_for(a, both_families)
    a.wait_for(b, both_families)
    assert a.id not in a.known()
    b.process.send_signal(signal.SIGUSR1)
    a.wait_for(b, lambda p: p["catalog"] == 2)
    a.process.send_signal(signal.SIGUSR1)
    b.wait_for(a, lambda p: p["catalog"] == 2)
    a.stop()
    b.wait_lost(a)


def test_two_users_of_one_daemon_with_one_name(make_lan):
    lan = make_lan(1)
    system = system_on(lan[0])
    a = Probe(lan[0], name="guest", mode="system", env=system.env)
    a.wait_state("avahi-daemon", 'published as "guest"')
    b = Probe(lan[0], name="guest", mode="system", env=system.env)
    b.wait_state("avahi-daemon", 'published as "guest #2"')
    a.wait_for(b)
    b.wait_for(a)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_changes_over_when_the_daemon_goes_and_returns(make_lan, how):
    lan = make_lan(2)
    system = system_on(lan[0])
    wait_until(lambda: "embedded" not in system.browse(), "daemon answers")
    a, b = Probe(lan[0], mode="auto", env=system.env), Probe(lan[1])
    a.wait_state("avahi-daemon", "published")
    a.wait_for(b)
    b.wait_for(a)
    before, said = time.monotonic(), len(a.events("state"))
    system.stop_avahi(how)
    state = a.wait_state("embedded", "published", after=said)
    print(f"published by the embedded responder {state['at'] - before:.2f} s after the daemon went")
    b.wait_for(a)
    said = len(a.events("state"))
    system.start_avahi()
    a.wait_state("avahi-daemon", "published", after=said)
    b.process.send_signal(signal.SIGUSR1)
    a.wait_for(b, lambda p: p["catalog"] == 2)
    b.wait_for(a)
    assert not a.lost(b), a.describe()


def test_finds_a_bus_that_starts_later(make_lan):
    need_avahi()
    lan = make_lan(2)
    system = System(lan[0])
    a, b = Probe(lan[0], mode="auto", env=system.env), Probe(lan[1])
    a.wait_state("embedded", "published")
    a.wait_for(b)
    system.start_bus()
    system.start_avahi()
    a.wait_state("avahi-daemon", "published")
    said = len(a.events("state"))
    system.bus.kill()
    system.bus.wait(DEADLINE_S)
    a.wait_state("embedded", "published", after=said)
    assert not a.lost(b), a.describe()


def dns_name(*labels):
    return b"".join(bytes([len(x)]) + x for x in labels) + b"\0"


def forged(number):
    """PTR, SRV, TXT and A of a host that is not there; every second one with a public address."""
    instance = b"forged %d" % number
    service = (b"_ronda", b"_tcp", b"local")
    host = dns_name(b"forged-%d" % number, b"local")
    full = dns_name(instance, *service)
    txt = b"".join(bytes([len(x)]) + x for x in (b"v=1", b"id=%016x" % (number + 1), b"c=1"))
    address = bytes([10 if number % 2 else 8, number >> 16 & 255, number >> 8 & 255, number & 255])

    def record(name, kind, data):
        return name + struct.pack(">HHIH", kind, 1, 120, len(data)) + data

    return (struct.pack(">6H", 0, 0x8400, 0, 4, 0, 0)
            + record(dns_name(*service), 12, full)
            + record(full, 33, struct.pack(">3H", 0, 0, 4242) + host)
            + record(full, 16, txt) + record(host, 1, address))


FLOODER = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from test_discovery import forged
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
s.bind(("", 5353))
for n in range(int(sys.argv[2])):
    s.sendto(forged(n), ("224.0.0.251", 5353))
"""


def test_forged_records_are_bounded_and_hide_nobody(make_lan):
    """100,000 forged records (25,000 hosts of four)."""
    lan = make_lan(3)
    a, b = Probe(lan[0]), Probe(lan[1])
    a.wait_for(b)
    before = a.rss_kib()
    lan[2].run([sys.executable, "-c", FLOODER, Path(__file__).parent, "25000"])
    wait_until(lambda: len(a.known()) >= 100, lambda: f"some forged peers: {len(a.known())}")
    grown = a.rss_kib() - before
    peers = a.known()
    print(f"{len(peers)} peers, RSS grew by {grown} KiB")
    assert len(peers) <= 256
    assert not any(x.startswith("8.") for p in peers.values() for x in p["addrs"])
    assert b.id in peers and not a.lost(b)
    if "asan" not in os.environ.get("BUILD", ""):
        assert grown <= 8 * 1024
