"""aria2 as a BitTorrent client with local peer discovery."""

import time

from .base import Rival
from .torrent import make_torrent

PORT = 6881
START_S = 2


class Aria2(Rival):
    name = "aria2"
    label = "aria2"
    tools = {"aria2c": "aria2", "python3:libtorrent": "python3-libtorrent"}
    late_discovery = True
    smaller = 4
    note = "no TLS, SHA-1"

    def prepare(self):
        self.torrent = make_torrent(self.path, self.source.dir / "aria2.torrent")

    def argv(self, host, folder, *more):
        return ["aria2c", "--no-conf", f"--dir={folder}", "--enable-dht=false",
                "--enable-dht6=false", "--bt-enable-lpd=true", "--bt-lpd-interface=eth0",
                "--enable-peer-exchange=true", f"--listen-port={PORT}", "--seed-ratio=0.0",
                f"--bt-external-ip={host.ip}", "--file-allocation=none", "--summary-interval=0",
                "--show-console-readout=false", *more, self.torrent]

    def seed(self):
        self.start(self.source, self.argv(self.source, self.path.parent, "--check-integrity=true"))
        for host in self.receivers:
            hook = host.dir / "aria2.hook"
            hook.write_text(f"#!/bin/sh\n: >{self.done(host)}\n")
            hook.chmod(0o755)
            self.start_at_gate(host, self.argv(host, self.folder(host),
                                               f"--on-bt-download-complete={hook}"))
        time.sleep(START_S + self.path.stat().st_size / 2e8)  # the source has checked its file

    def done(self, host):
        return host.dir / "aria2.done"

    def has_all(self, index):
        return self.done(self.receivers[index]).exists() or super().has_all(index)
