"""What a LAN and its machines do to a transfer, done on purpose: crashes, full disks, pulled
cables, files changed under the daemon. After each, the same oracle (Scene.check): the copy is
the source's byte for byte, no final name ever held anything else, files of the user are
untouched, memory and descriptors come back, and the command line says what is so.

Rates and sizes are chosen so that a fault hits half-way; nothing here asserts how fast a
machine is. RONDA_SEED gives other random moments."""

import os
import random
import shutil
import signal
import time

import lan as lab
import pytest
from party import (MIB, dest, get, get_start, get_start_all, leftovers, make_file, peers, rows,
                   sha256, share, transfer, wait_for)

EXIT_FAILED, EXIT_NO_SPACE = 1, 6
CANARIES = 200
OVERHEAD = 1.10  # Ethernet, IP, TCP, TLS, frames, mDNS
# What one kill may cost on a machine that keeps its page cache: chunks in flight on every
# link, and what the kernel had buffered.
LOST_PER_KILL = 4 * MIB
FDS_SLACK, RSS_SLACK = 12, 48 * MIB
SEED = int(os.environ.get("RONDA_SEED", "20260101"))


def plant_canaries(folder):
    for i in range(CANARIES):
        (folder / f"canary-{i:03}").write_text(f"{i} of the user's own")
    return folder


def canaries_intact(folder):
    return all((folder / f"canary-{i:03}").read_text() == f"{i} of the user's own"
               for i in range(CANARIES))


def settled(daemon):
    return daemon.fds(), daemon.rss_bytes()


class Scene:
    """One share on the first host, the others to get it; all daemons run."""

    def __init__(self, make_lan, hosts=2, rate_mbit=40, size=12 * MIB, seed=0, **options):
        self.lan = make_lan(hosts, rate_mbit=rate_mbit)
        self.source, self.guests = self.lan.hosts[0], self.lan.hosts[1:]
        self.size = size
        self.lan.start_daemons(**options)
        self.base = {host: settled(host.daemon) for host in self.lan.hosts}
        self.path = make_file(self.source.dir / "image.bin", size, seed=seed)
        self.want = sha256(self.path)
        self.said = share(self.source, self.path, self.guests)
        self.id = self.said["id"]
        for guest in self.guests:
            plant_canaries(dest(guest))

    def start(self, *guests):
        return get_start_all(guests or self.guests, self.id)

    def done_bytes(self, host):
        return transfer(host, self.id).get("done_bytes", 0)

    def wait_part(self, part, *guests):
        for guest in guests or self.guests:
            wait_for(f"{guest.name} has {part:.0%}",
                     lambda g=guest: self.done_bytes(g) >= part * self.size)

    def honest(self):
        """No final name holds anything but the whole file."""
        for guest in self.guests:
            final = dest(guest) / "image.bin"
            assert not final.exists() or sha256(final) == self.want, guest.name
            assert canaries_intact(dest(guest)), guest.name

    def wait_here(self, *guests, timeout_s=90):
        for guest in guests or self.guests:
            wait_for(f"{guest.name} has it all: {transfer(guest, self.id)}\n"
                     f"{guest.daemon.log_tail()}",
                     lambda g=guest: [r["state"] for r in rows(g) if r["id"] == self.id] == ["here"],
                     timeout_s)

    def check(self, *guests):
        self.honest()
        for guest in guests or self.guests:
            assert sha256(dest(guest) / "image.bin") == self.want, guest.name
            assert leftovers(dest(guest)) == [], guest.name
        assert sha256(self.path) == self.want
        self.check_resources()

    def check_resources(self):
        for host, (fds, rss) in self.base.items():
            if not host.daemon.running():
                continue
            wait_for(f"{host.name}: {settled(host.daemon)} is back to {(fds, rss)}",
                     lambda h=host, f=fds, r=rss: h.daemon.fds() <= f + FDS_SLACK
                     and ("asan" in str(lab.build_dir()) or h.daemon.rss_bytes() <= r + RSS_SLACK))


def text_of(done):
    return done.out + done.err


# --- the daemon itself -----------------------------------------------------------------------


def test_killed_again_and_again(make_lan):
    """The transfer goes on by itself after each start of the daemon, and costs little."""
    scene = Scene(make_lan, size=24 * MIB)
    source, guest = scene.source, scene.guests[0]
    rng = random.Random(SEED)
    job = scene.start()[0][1]
    victims = [[guest], [source], [guest, source]] * 2
    rng.shuffle(victims)
    for number, hosts in enumerate(victims):
        scene.wait_part((number + 1) / 9)
        time.sleep(rng.uniform(0, 0.4))
        for host in hosts:
            host.daemon.kill()
        scene.honest()
        for host in hosts:
            host.start_daemon()
    assert guest.ronda_end(job, check=False).code != 0
    get(guest, scene.id)  # attaches to the transfer that goes on
    scene.check()
    fetched, bound = guest.counters()[0], scene.size * OVERHEAD + 6 * LOST_PER_KILL
    assert fetched <= bound, f"seed {SEED}: {fetched / MIB:.1f} MiB, bound {bound / MIB:.1f}"


def test_goes_on_with_nobody_asking(make_lan):
    """After a crash of the receiver no command is needed."""
    scene = Scene(make_lan)
    guest = scene.guests[0]
    scene.start()
    scene.wait_part(0.3)
    guest.daemon.kill()
    guest.start_daemon()
    assert transfer(guest, scene.id)["state"] in ("checking", "waiting", "running")
    scene.wait_here()
    scene.check()


def test_sigterm_half_way(make_lan):
    """Leaves in time, says so to whoever waits, and goes on after the next start."""
    scene = Scene(make_lan)
    guest = scene.guests[0]
    for part, host in ((0.2, guest), (0.5, scene.source)):
        job = scene.start()[0][1]
        scene.wait_part(part)
        begun = time.monotonic()
        assert host.daemon.stop() == 0
        assert time.monotonic() - begun < 3.5
        if host is guest:
            done = guest.ronda_end(job, check=False)
            assert done.code == EXIT_FAILED and "stopping" in text_of(done), done
        scene.honest()
        host.start_daemon()
    assert guest.ronda_end(job).doc["verified"] is True
    scene.check()


def flip_bit(path, rng, first=0):
    size = path.stat().st_size
    at = rng.randrange(first, size)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))


def staged(folder):
    (stage,) = [folder / name for name in leftovers(folder)]
    return stage


@pytest.mark.parametrize("what", ["data", "journal"])
def test_bits_flipped_while_down(make_lan, what):
    """A wrong bit on the disk costs its extent, never the file."""
    scene = Scene(make_lan, size=8 * MIB)
    guest = scene.guests[0]
    rng = random.Random(SEED)
    scene.start()
    flips = 3
    for part in (0.3, 0.6):
        scene.wait_part(part)
        guest.daemon.kill()
        stage = staged(dest(guest))
        for _ in range(flips):
            flip_bit(stage / ("0" if what == "data" else "journal"), rng)
        guest.start_daemon()
    get(guest, scene.id)
    scene.check()
    if what == "data":  # a damaged journal may cost its tail, a flipped byte only a chunk
        fetched = guest.counters()[0]
        assert fetched <= scene.size * OVERHEAD + 2 * LOST_PER_KILL, f"{fetched / MIB:.1f} MiB"


def test_bits_flipped_in_the_state(make_lan):
    """Damaged state is found, told, put aside; the daemon starts and the file can be had."""
    scene = Scene(make_lan, size=4 * MIB)
    guest = scene.guests[0]
    rng = random.Random(SEED)
    scene.start()
    scene.wait_part(0.3)
    guest.daemon.kill()
    state = guest.dir / "state"
    files = [p for p in sorted(state.rglob("*"))
             if p.is_file() and p.name != "node.key" and p.stat().st_size > 0]
    for name in sorted({p.name for p in files}):
        shutil.copytree(state, guest.dir / "saved", dirs_exist_ok=True)
        for path in files:
            if path.name == name:
                flip_bit(path, rng)
        guest.start_daemon()
        scene.honest()
        guest.daemon.kill()
        shutil.rmtree(state)
        shutil.copytree(guest.dir / "saved", state)
    for path in files:
        flip_bit(path, rng)
    guest.start_daemon()
    wait_for("it is listed", lambda: any(r["id"] == scene.id for r in rows(guest)))
    get(guest, scene.id)
    scene.check()


# --- the disk --------------------------------------------------------------------------------


def mount_small(host, path, size):
    path.mkdir(exist_ok=True)
    host.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path])
    return path


def fill(host, path):
    """All that is left, as another program's file would."""
    host.run(["sh", "-c", f"head -c 1G /dev/zero >'{path}'"], check=False)


def sha256_on(host, path):
    """Inside the host's own mounts."""
    return host.run(["sha256sum", path]).stdout.split()[0]


@pytest.mark.parametrize("restart", [False, True], ids=["goes-on", "restarted"])
def test_disk_full_half_way(make_lan, restart):
    """Said plainly, and it goes on when space is freed."""
    scene = Scene(make_lan)
    guest = scene.guests[0]
    small = mount_small(guest, guest.dir / "small", "32m")
    job = guest.ronda_start("get", scene.id, "-o", small)
    scene.wait_part(0.3)
    fill(guest, small / "other")
    wait_for("the full disk is told", lambda: transfer(guest, scene.id)["state"] == "disk-full")
    if restart:
        guest.daemon.kill()
        guest.ronda_end(job, check=False)
        guest.start_daemon()
        wait_for(f"it is told again: {transfer(guest, scene.id)}",
                 lambda: transfer(guest, scene.id)["state"] == "disk-full")
    assert guest.run(["find", small, "-name", "image.bin"]).stdout == ""
    guest.run(["rm", small / "other"])
    if not restart:
        guest.ronda_end(job)
    wait_for(f"it goes on: {transfer(guest, scene.id)}",
             lambda: [r["state"] for r in rows(guest) if r["id"] == scene.id] == ["here"])
    assert sha256_on(guest, small / "image.bin") == scene.want
    assert guest.run(["ls", "-A", small]).stdout.split() == ["image.bin"]
    scene.check_resources()


def test_state_directory_full(make_lan):
    """No room for the daemon's own notes: an error or a pause, no crash, then as before."""
    lan = make_lan(2, rate_mbit=40)
    source, guest = lan.hosts
    state = mount_small(guest, guest.dir / "state", "1m")
    source.start_daemon()
    guest.start_daemon()
    path = make_file(source.dir / "image.bin", 8 * MIB)
    said = share(source, path, [guest])
    fill(guest, state / "other")
    done = get(guest, said["id"], check=False)
    assert done.code == EXIT_NO_SPACE and "state" in text_of(done), done
    guest.run(["rm", state / "other"])
    job = get_start(guest, said["id"])
    wait_for("half of it", lambda: transfer(guest, said["id"]).get("done_bytes", 0) > 4 * MIB)
    fill(guest, state / "other")
    done = guest.ronda_end(job, check=False)
    guest.run(["rm", state / "other"])
    if done.code != 0:
        get(guest, said["id"])
    assert sha256(dest(guest) / "image.bin") == sha256(path)
    assert leftovers(dest(guest)) == []
    wait_for("it is here", lambda: [r["state"] for r in rows(guest)] == ["here"])
    guest.daemon.kill()
    guest.start_daemon()
    assert [r["state"] for r in rows(guest)] == ["here"]


@pytest.mark.parametrize("how", ["removed", "read-only"])
def test_destination_taken_away(make_lan, how):
    """A clear error, other shares go on, and the same command works again later."""
    scene = Scene(make_lan)
    source, guest = scene.source, scene.guests[0]
    small = mount_small(guest, guest.dir / "small", "40m")
    into = small / "into"
    guest.run(["mkdir", into])
    other = make_file(source.dir / "other.bin", 8 * MIB, seed=1)
    other_id = share(source, other, [guest])["id"]
    job = guest.ronda_start("get", scene.id, "-o", into)
    other_job = get_start(guest, other_id)
    scene.wait_part(0.2)
    guest.run(["rm", "-r", into] if how == "removed" else ["mount", "-o", "remount,ro", small],
              check=False)
    if how == "read-only":  # files open for writing keep a plain remount from working
        guest.run(["mount", "-o", "remount,ro,bind", small, small], check=False)
    done = guest.ronda_end(job, check=False)
    if how == "removed":
        assert done.code != 0 and str(into) in text_of(done), done
        assert transfer(guest, scene.id).get("state", "failed") in ("failed", "checking")
    guest.ronda_end(other_job)
    assert sha256(dest(guest) / "other.bin") == sha256(other)
    if how == "removed":
        guest.run(["mkdir", into])
        get(guest, scene.id, into)
    assert sha256_on(guest, into / "image.bin") == scene.want
    scene.check_resources()


# --- the source's files ----------------------------------------------------------------------


def edit(path):
    stat = path.stat()
    with open(path, "r+b") as file:
        file.seek(stat.st_size - MIB)
        file.write(b"edited" * 1000)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if nothing had happened


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def replace(path):
    make_file(path.with_name("new"), path.stat().st_size, seed="another")
    path.with_name("new").rename(path)


CHANGES = {"edited": edit, "truncated": truncate, "deleted": os.unlink, "replaced": replace}


def test_source_changed_while_shared(make_lan):
    """Not a wrong byte leaves; it is told; sharing the right content again mends it."""
    scene = Scene(make_lan, size=MIB, rate_mbit=30)
    source, guest = scene.source, scene.guests[0]
    paths = {how: make_file(source.dir / how, 6 * MIB, seed=how) for how in CHANGES}
    want = {how: sha256(path) for how, path in paths.items()}
    ids = {how: share(source, path, [guest])["id"] for how, path in paths.items()}
    jobs = {how: get_start(guest, ids[how]) for how in CHANGES}
    left = dict(CHANGES)

    def change_under_way():
        """Each as soon as some of it has gone out: whichever is first."""
        parts = {t["id"]: t["done_bytes"] for t in guest.ronda("status").doc["transfers"]}
        for how in [h for h in left if parts.get(ids[h], 0) > MIB // 4]:
            left.pop(how)(paths[how])
        return not left

    wait_for("all are changed half-way", change_under_way)
    for how in CHANGES:
        wait_for(f"the source says so of {how}: {transfer(source, ids[how])}",
                 lambda h=how: transfer(source, ids[h])["state"] == "changed", 15)
        assert not (dest(guest) / how).exists()
        assert jobs[how].poll() is None, "it may come back, or from somebody else"
    for how, path in paths.items():
        path.unlink(missing_ok=True)
        make_file(path, 6 * MIB, seed=how)
        assert share(source, path)["id"] == ids[how]
        assert transfer(source, ids[how])["state"] != "changed"
    for how, job in jobs.items():
        guest.ronda_end(job)
        assert sha256(dest(guest) / how) == want[how]
    assert leftovers(dest(guest)) == []


# --- the network and the clock ---------------------------------------------------------------


def test_peer_vanishes_without_a_word(make_lan):
    """The others go on at once; the source forgets it; it completes when it is back."""
    scene = Scene(make_lan, hosts=3, size=16 * MIB)
    source, (near, gone) = scene.source, scene.guests
    jobs = dict(scene.start())
    scene.wait_part(0.3)
    gone.link(False)
    mark = scene.done_bytes(near)
    wait_for("the other one goes on", lambda: scene.done_bytes(near) > mark + 2 * MIB, 10)
    near.ronda_end(jobs[near])
    wait_for(f"the dead are forgotten: {transfer(source, scene.id)}",
             lambda: transfer(source, scene.id)["peers"] <= 1, 20)
    assert jobs[gone].poll() is None
    assert transfer(gone, scene.id)["state"] in ("waiting", "running")
    wait_for("nobody is there, it says", lambda: transfer(gone, scene.id)["state"] == "waiting", 25)
    gone.link(True)
    gone.ronda_end(jobs[gone])
    scene.check()


def test_link_down_for_a_moment(make_lan):
    """Shorter than anybody would notice, and longer; the transfer goes on."""
    scene = Scene(make_lan)
    guest = scene.guests[0]
    job = scene.start()[0][1]
    for part, seconds in ((0.2, 0.5), (0.5, 6)):
        scene.wait_part(part)
        guest.link(False)
        time.sleep(seconds)  # the fault itself
        guest.link(True)
    guest.ronda_end(job)
    scene.check()
    assert guest.counters()[0] <= scene.size * OVERHEAD + 2 * LOST_PER_KILL


def test_address_changes_half_way(make_lan):
    """As after a new lease, IPv6 included."""
    scene = Scene(make_lan, hosts=3)
    guest = scene.guests[0]
    jobs = scene.start()
    scene.wait_part(0.3)
    guest.ns.sh(f"ip addr flush dev {lab.IFACE}; ip addr add {lab.SUBNET}.200/24 dev {lab.IFACE};"
                f"ip -6 addr add fe80::abcd:200/64 dev {lab.IFACE};"
                "ip route add 224.0.0.0/4 dev eth0 || true")
    mark = scene.done_bytes(guest)
    wait_for(f"it goes on: {transfer(guest, scene.id)}",
             lambda: scene.done_bytes(guest) > mark + MIB, 30)
    for host, job in jobs:
        host.ronda_end(job)
    scene.check()


def test_split_in_the_middle(make_lan):
    """Each half gets on with what it has; all of it is everywhere after the heal."""
    scene = Scene(make_lan, hosts=6, size=16 * MIB)
    near, far = scene.guests[:2], scene.guests[2:]
    jobs = dict(scene.start())
    scene.wait_part(0.3)
    scene.lan.split(far)
    for host in near:
        host.ronda_end(jobs[host])
    wait_for("the source sees its own half only",
             lambda: transfer(scene.source, scene.id)["peers"] <= 2, 25)
    scene.lan.heal()
    for host in far:
        host.ronda_end(jobs[host])
    scene.check()


def test_stopped_for_seconds(make_lan):
    """As a laptop that sleeps: nobody is banned, nothing is lost."""
    scene = Scene(make_lan, hosts=3, size=16 * MIB)
    source, (guest, other) = scene.source, scene.guests
    jobs = dict(scene.start())
    for part, host, seconds in ((0.1, source, 1), (0.3, guest, 1), (0.5, guest, 8)):
        scene.wait_part(part, guest)
        host.daemon.signal(signal.SIGSTOP)
        time.sleep(seconds)  # the fault itself
        host.daemon.signal(signal.SIGCONT)
    for host, job in jobs.items():
        host.ronda_end(job)
    scene.check()
    assert guest.counters()[0] <= scene.size * OVERHEAD + 3 * LOST_PER_KILL
    assert {p["name"] for p in peers(other)} >= {source.name, guest.name}


# --- names and neighbours on one machine -----------------------------------------------------


def test_five_of_one_name(make_lan):
    """Each gets a name of its own, and all see all."""
    lan = make_lan(5)
    lan.start_daemons("--name", "laptop")

    def names():
        return {host.ronda("status").doc["node"]["name"] for host in lan.hosts}

    wait_for(f"five names: {names()}", lambda: len(names()) == 5)
    for host in lan.hosts:
        wait_for(f"{host.name} sees four others: {[p['name'] for p in peers(host)]}",
                 lambda h=host: len({p["name"] for p in peers(h)}) == 4)


def second_daemon(host, *changes):
    """A rondad beside the host's own, its arguments changed as told."""
    argv = list(map(str, host.daemon.process.args[len(host.ns.enter):]))
    for option, value in changes:
        argv[argv.index(option) + 1] = str(value)
    return argv


def test_second_on_one_state_directory(make_lan):
    """Refused, with the way out in the message; the first one does not notice."""
    (host,) = make_lan(1).hosts
    first = host.start_daemon()
    done = host.run(second_daemon(host, ("--runtime-dir", host.dir / "runtime2")), check=False)
    assert done.returncode == EXIT_FAILED
    assert "--state-dir" in done.stderr and str(host.dir / "state") in done.stderr, done.stderr
    assert first.running() and first.answers()


def test_two_users_on_one_host(make_lan):
    """Two daemons side by side: both share, both get, a third sees both."""
    scene = Scene(make_lan, size=4 * MIB)
    host, third = scene.source, scene.guests[0]
    dirs = {key: host.dir / f"{key}2" for key in ("state", "runtime", "download")}
    argv = second_daemon(host, *((f"--{key}-dir", path) for key, path in dirs.items()),
                         ("--name", "second"))
    for path in dirs.values():
        path.mkdir(mode=0o700)
    first = host.daemon
    second = lab.Daemon(host, argv, dirs, None)
    host.daemons.append(second)
    second.wait_ready()
    host.daemon = second
    try:
        wait_for("the second sees the first's", lambda: any(r["id"] == scene.id for r in rows(host)))
        get(host, scene.id)
        assert sha256(dest(host) / "image.bin") == scene.want
        mine = make_file(host.dir / "mine.bin", 2 * MIB, seed=2)
        said = share(host, mine, [third])
        get(third, said["id"])
        assert sha256(dest(third) / "mine.bin") == sha256(mine)
    finally:
        host.daemon = first
    assert {p["name"] for p in peers(third)} >= {host.name, "second"}
    get(third, scene.id)
    scene.check()


# --- the slow --------------------------------------------------------------------------------


def test_a_slow_one_holds_nobody_up(make_lan):
    """What the others take with it, against what they take without, in one run."""
    rate = 40
    scene = Scene(make_lan, hosts=5, rate_mbit=rate, size=16 * MIB)
    quick, slow = scene.guests[:3], scene.guests[3]
    slow.set_rate(rate / 20)
    second = make_file(scene.source.dir / "second.bin", scene.size, seed=1)
    second_id = share(scene.source, second, scene.guests)["id"]
    spent = []
    for share_id, members in ((scene.id, quick), (second_id, [slow, *quick])):
        begun = time.monotonic()
        jobs = get_start_all(members, share_id)
        for host, job in jobs[-3:]:
            host.ronda_end(job)
        spent.append(time.monotonic() - begun)
    assert spent[1] <= 1.5 * spent[0] + 0.5, spent
    slow.set_rate(rate)
    slow.ronda_end(jobs[0][1])
    for host in scene.guests:
        assert sha256(dest(host) / "second.bin") == sha256(second)
    scene.check(*quick)
