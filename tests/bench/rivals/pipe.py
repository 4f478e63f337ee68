"""What the machine can do at best: one TLS 1.3 connection and SHA-256, from memory, nothing
else. With a file: the same, and what came is written."""

import json
import subprocess

from lan import binary

from .base import Rival, RivalError

PORT = "8443"


class Pipe(Rival):
    name = "tls_pipe"
    label = "bare TLS 1.3 + SHA-256 pipe, nothing written"
    keeps_copy = False
    to_file = False

    def seed(self):
        pipe, host = binary("tests/tls-pipe"), self.receivers[0]
        server = self.start(self.source, [pipe, "serve", PORT, self.path.stat().st_size],
                            stdout=subprocess.PIPE)
        if server.stdout.readline() != b"ready\n":
            raise RivalError(f"tls-pipe: {self.log_tail(self.source)}")
        out = [self.output(0)] if self.to_file else []
        self.folder(host)
        self.client = self.start_at_gate(host, [pipe, "fetch", self.source.ip, PORT, *out],
                                         stdout=subprocess.PIPE)

    def wait(self, limit_s, watch=None):
        """The client times itself, from the end of the handshake."""
        if super().wait(limit_s, watch) == [None]:
            return [None]
        said, size = json.loads(self.client.stdout.read()), self.path.stat().st_size
        if said["bytes"] != size:
            raise RivalError(f"tls-pipe: {said['bytes']} of {size} bytes came")
        return [said["seconds"]]


class PipeToFile(Pipe):
    name = "tls_pipe_file"
    label = "the same pipe, written to a file"
    to_file = True
