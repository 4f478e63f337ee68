"""syncthing: one shared folder, everybody knows everybody's address; no relays, no discovery
servers, no reports. Encrypted (TLS 1.3) and verified (SHA-256), as ronda. A receiver asks for
32 MiB at once, all of the source at first: small files tell little about it."""

import json
import xml.sax.saxutils as xml

from party import wait_for

from .base import Rival, RivalError
from .ronda import ask_unix

PORT = 22000
FOLDER = "bench"
KEY = "bench"
START_S = 60

CONF = """<configuration version="36">
 <folder id="{folder}" label="" path="{path}" type="sendreceive" rescanIntervalS="0"
   fsWatcherEnabled="false" ignorePerms="true">
  <filesystemType>basic</filesystemType><minDiskFree unit="%">0</minDiskFree>
  <pullerPauseS>1</pullerPauseS>{members}
 </folder>
 {devices}
 <gui enabled="true" tls="false"><address>{socket}</address><apikey>{key}</apikey></gui>
 <options>
  <listenAddress>tcp://0.0.0.0:{port}</listenAddress>
  <globalAnnounceEnabled>false</globalAnnounceEnabled>
  <localAnnounceEnabled>false</localAnnounceEnabled>
  <relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled>
  <startBrowser>false</startBrowser><urAccepted>-1</urAccepted>
  <autoUpgradeIntervalH>0</autoUpgradeIntervalH><crashReportingEnabled>false</crashReportingEnabled>
  <reconnectionIntervalS>1</reconnectionIntervalS>
  <setLowPriority>false</setLowPriority><progressUpdateIntervalS>1</progressUpdateIntervalS>
 </options>
</configuration>
"""


class Syncthing(Rival):
    name = "syncthing"
    label = "syncthing"
    tools = {"syncthing": "syncthing"}
    note = "TLS 1.3, SHA-256"

    def home(self, host):
        return host.dir / "syncthing.home"

    def socket(self, host):
        return self.home(host) / "gui.sock"

    def shared(self, host):
        return self.path.parent if host is self.source else self.folder(host)

    def prepare(self):
        hosts = [self.source, *self.receivers]
        ids = {}
        for host in hosts:
            home = self.home(host)
            host.run(["syncthing", "generate", f"--home={home}", "--no-default-folder",
                      "--skip-port-probing"])
            ids[host] = host.run(["syncthing", "serve", f"--home={home}",
                                  "--device-id"]).stdout.strip()
        members = "".join(f'<device id="{ids[h]}"></device>' for h in hosts)
        for at, host in enumerate(hosts):
            # Of two only one dials: when both do at once both may hang up, for minutes.
            devices = "".join(
                f'<device id="{ids[h]}" name="{h.name}" compression="never"><address>'
                f"{f'tcp://{h.ip}:{PORT}' if i < at else 'dynamic'}</address></device>"
                for i, h in enumerate(hosts))
            (self.shared(host) / ".stfolder").mkdir(exist_ok=True)
            (self.home(host) / "config.xml").write_text(CONF.format(
                folder=FOLDER, path=xml.escape(str(self.shared(host))), members=members,
                devices=devices, socket=self.socket(host), key=KEY, port=PORT))

    def ask(self, host, method, url, body=None):
        try:
            return ask_unix(self.socket(host), method, url, body,
                            {"X-API-Key": KEY, "Content-Type": "application/json"})
        except (OSError, ValueError) as error:
            if method != "GET":
                raise RivalError(f"syncthing on {host.name}: {error}: "
                                 f"{self.log_tail(host)}") from error
            return None

    def seed(self):
        """The source hashes its file alone and closes the folder; fetch() opens it."""
        self.start_one(self.source)
        size = self.path.stat().st_size
        wait_for("the source has hashed its file", lambda: (self.ask(
            self.source, "GET", f"/rest/db/status?folder={FOLDER}") or {}).get("localBytes") == size,
            START_S)
        self.pause(True)
        for host in self.receivers:
            self.start_one(host)
        for host in [self.source, *self.receivers]:
            wait_for(f"syncthing knows everybody on {host.name}",
                     lambda h=host: self.connected(h) >= len(self.receivers), START_S)

    def start_one(self, host):
        self.start(host, ["syncthing", "serve", f"--home={self.home(host)}", "--no-browser",
                          "--no-restart", "--no-default-folder",
                          f"--gui-address=unix://{self.socket(host)}"],
                   env={"STNOUPGRADE": "1", "HOME": str(self.home(host))})
        # One after the other: who is dialled before he listens is not dialled again soon.
        wait_for(f"syncthing answers on {host.name}",
                 lambda: self.ask(host, "GET", "/rest/system/ping"), START_S)

    def pause(self, paused):
        self.ask(self.source, "PATCH", f"/rest/config/folders/{FOLDER}",
                 json.dumps({"paused": paused}))

    def connected(self, host):
        doc = self.ask(host, "GET", "/rest/system/connections") or {"connections": {}}
        return sum(c["connected"] for c in doc["connections"].values())

    def fetch(self):
        self.pause(False)

    def has_all(self, index):
        return self.output(index).exists()
