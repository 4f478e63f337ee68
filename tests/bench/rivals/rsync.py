"""rsync's daemon at the source, `rsync -a` at the receivers: no encryption."""

import time

from .base import Rival, RivalError

PORT = 8730


class Rsync(Rival):
    name = "rsync"
    label = "rsync"
    tools = {"rsync": "rsync"}
    is_client_server = True
    smaller = 8
    note = "no TLS"

    def prepare(self):
        self.conf = self.folder(self.source) / "rsyncd.conf"
        self.conf.write_text(f"use chroot = no\nuid = 0\ngid = 0\nmax connections = 0\n"
                             f"[bench]\npath = {self.path.parent}\n")

    def seed(self):
        self.start(self.source, ["rsync", "--daemon", "--no-detach", "--config", self.conf,
                                 "--port", PORT])
        url = f"rsync://{self.source.ip}:{PORT}/"
        for _ in range(100):
            if self.source.run(["rsync", url], check=False).returncode == 0:
                break
            time.sleep(0.05)
        else:
            raise RivalError(f"rsync does not answer: {self.log_tail(self.source)}")
        for host in self.receivers:
            self.start_at_gate(host, ["rsync", "-a", f"{url}bench/{self.path.name}",
                                      f"{self.folder(host)}/"])
