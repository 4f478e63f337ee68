"""ronda itself: rondad on every host, `ronda get` on the receivers."""

import http.client
import json
import socket

from lan import binary
from party import peers, rows, wait_for

from .base import Rival

DISCOVERY_S = 60
SHARE_S = 600


class _UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask_unix(path, method, url, body=None, headers=None):
    """One request to an HTTP server on a unix socket -> its JSON (None when it has no body)."""
    connection = _UnixHTTP(path)
    try:
        connection.request(method, url, body, headers or {})
        text = connection.getresponse().read()
        return json.loads(text) if text.strip() else None
    finally:
        connection.close()


class Ronda(Rival):
    name = "ronda"
    label = "ronda"
    is_ours = True
    note = "TLS 1.3, SHA-256"

    def __init__(self, *args):
        super().__init__(*args)
        self.share_id = None

    def prepare(self):
        for host in [self.source, *self.receivers]:
            host.start_daemon()
            self.processes.append(host.daemon.process)
        everybody = len(self.receivers)
        wait_for("everybody knows everybody", lambda: all(
            len(peers(h)) >= everybody for h in [self.source, *self.receivers]), DISCOVERY_S)

    def seed(self):
        self.share_id = self.source.ronda("share", self.path, timeout_s=SHARE_S).doc["id"]
        for host in self.receivers:
            wait_for(f"{host.name} lists the share", lambda h=host: any(
                row["id"] == self.share_id for row in rows(h)), DISCOVERY_S)
            self.start_at_gate(host, [binary("ronda"), "--socket", host.daemon.socket, "--json",
                                      "get", self.share_id, "-o", self.folder(host)])

    def status(self, host):
        """The share's entry in the daemon's status, or {}: asked on the API's socket, which
        costs less than a process."""
        doc = ask_unix(host.daemon.socket, "GET", "/v1/status")
        return next((t for t in doc["transfers"] if t["id"] == self.share_id), {})

    def stop(self):
        """In order: what a sanitizer or an assertion has to say is heard (Lan.complaints)."""
        for host in [self.source, *self.receivers]:
            if host.daemon and host.daemon.running():
                host.daemon.stop()
        super().stop()
