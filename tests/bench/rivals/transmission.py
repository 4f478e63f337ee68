"""transmission's daemon with local peer discovery only."""

import json

from party import wait_for

from .base import Rival
from .torrent import make_torrent

RPC = "9091"
# While the peers find one another the receivers take no more than this; then the limit goes.
HELD_KBYTE_S = 1
MEET_S = 60


class Transmission(Rival):
    name = "transmission"
    label = "transmission"
    tools = {"transmission-daemon": "transmission-daemon", "transmission-remote": "transmission-cli",
             "python3:libtorrent": "python3-libtorrent"}
    note = "no TLS, SHA-1"

    def prepare(self):
        self.torrent = make_torrent(self.path, self.source.dir / "transmission.torrent")

    def settings(self, folder, held):
        return {"download-dir": str(folder), "dht-enabled": False, "lpd-enabled": True,
                "pex-enabled": True, "utp-enabled": False, "port-forwarding-enabled": False,
                "encryption": 0, "rpc-bind-address": "127.0.0.1", "rpc-port": int(RPC),
                "rpc-whitelist-enabled": False, "rpc-host-whitelist-enabled": False,
                "rename-partial-files": True, "incomplete-dir-enabled": False,
                "blocklist-enabled": False, "speed-limit-down": HELD_KBYTE_S,
                "speed-limit-down-enabled": held, "speed-limit-up-enabled": False,
                "preallocation": 0, "message-level": 1, "cache-size-mb": 16}

    def start_daemon(self, host, folder, held):
        home = host.dir / "transmission.home"
        home.mkdir(exist_ok=True)
        (home / "settings.json").write_text(json.dumps(self.settings(folder, held)))
        self.start(host, ["transmission-daemon", "-f", "-g", home])

    def remote(self, host, *args, check=True):
        return host.run(["transmission-remote", RPC, *args], check=check).stdout

    def seed(self):
        self.start_daemon(self.source, self.path.parent, held=False)
        for host in self.receivers:
            self.start_daemon(host, self.folder(host), held=True)
        for host in [self.source, *self.receivers]:
            wait_for(f"transmission answers on {host.name}", lambda h=host: h.run(
                ["transmission-remote", RPC, "-si"], check=False).returncode == 0)
        self.remote(self.source, "-a", self.torrent)
        wait_for("the source has checked its file", lambda: "Percent Done: 100%" in
                 self.remote(self.source, "-t", "all", "-i"), 120)
        for host in self.receivers:
            self.remote(host, "-a", self.torrent)
        wait_for("the peers meet", self.have_met, MEET_S)

    def have_met(self):
        """Does everybody have a connection to half the others at least, and the source one to
        all? (Two that dial each other at once may both hang up.)"""
        everybody = len(self.receivers)
        def connections(host):
            return len(self.remote(host, "-t", "all", "-ip", check=False).splitlines()) - 1
        return (connections(self.source) >= everybody and
                all(connections(h) >= (everybody + 1) // 2 for h in self.receivers))

    def fetch(self):
        for host in self.receivers:
            host.popen(["transmission-remote", RPC, "-D"], stdout=-3, stderr=-3)

    def has_all(self, index):
        return self.output(index).exists()
