"""libtorrent, with and without super seeding; and the .torrent for the other clients.
BitTorrent is not encrypted here; SHA-1 checks the pieces."""

import select
import subprocess
import sys
from pathlib import Path

from .base import Rival, RivalError

MEET_S = 60
PEER = Path(__file__).with_name("torrent_peer.py")
# Debian's own: another python may not have python3-libtorrent.
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable


def make_torrent(path, into):
    done = subprocess.run([PYTHON, PEER, "make", path, into], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise RivalError(f"no torrent: {done.stderr[-300:]}")
    return into


class Libtorrent(Rival):
    name = "libtorrent"
    label = "libtorrent"
    tools = {"python3:libtorrent": "python3-libtorrent"}
    note = "no TLS, SHA-1"
    role = "seed"

    def prepare(self):
        self.torrent = make_torrent(self.path, self.source.dir / f"{self.name}.torrent")

    def start_peer(self, host, role, folder, before):
        return self.start(host, [PYTHON, PEER, role, self.torrent, folder, self.done(host), host.ip,
                                 len(self.receivers), *(h.ip for h in before)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def seed(self):
        hosts = [self.source, *self.receivers]
        peers = [self.start_peer(self.source, self.role, self.path.parent, [])]
        for index, host in enumerate(self.receivers, 1):
            peers.append(self.start_peer(host, "leech", self.folder(host), hosts[:index]))
        self.all_say(hosts, peers, b"ready\n")
        for process in peers:
            process.stdin.write(b"\n")
            process.stdin.flush()
        self.all_say(hosts, peers, b"met\n")
        self.gates = peers[1:]

    def all_say(self, hosts, peers, word):
        for host, process in zip(hosts, peers):
            if not select.select([process.stdout], [], [], MEET_S)[0] or \
                    process.stdout.readline() != word:
                raise RivalError(f"{self.name} on {host.name}: {self.log_tail(host)}")

    def done(self, host):
        return host.dir / f"{self.name}.done"

    def has_all(self, index):
        if self.done(self.receivers[index]).exists():
            return True
        if self.gates[index].poll() is not None:
            raise RivalError(f"{self.name} ended: {self.log_tail(self.receivers[index])}")
        return False


class SuperSeeding(Libtorrent):
    """Its first data leave about ten seconds after they are wanted, although all are connected
    by then (2.0.8; with libtorrent's own unchoke_interval later still). Why is not known here."""

    name = "libtorrent_super"
    label = "libtorrent, super seeding"
    role = "super"
