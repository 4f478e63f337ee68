"""udpcast: multicast with retransmissions. For wired networks; nothing is encrypted or hashed."""

import time

from .base import Rival

# Of the link's rate: more, and the switch's short queue drops; 0.90 to 1.00 were tried.
PACE = 0.98
START_S = 0.5


class Udpcast(Rival):
    name = "udpcast"
    label = "udpcast (multicast)"
    tools = {"udp-sender": "udpcast", "udp-receiver": "udpcast"}
    note = "no TLS, no hash, wired only"

    def seed(self):
        """The sender first: only a receiver's first call brings them together."""
        pace = ["--max-bitrate", f"{int(self.rate_mbit * PACE * 1000)}k"] if self.rate_mbit else []
        self.start(self.source, [
            "udp-sender", "--interface", "eth0", "--nokbd", "--no-progress", "--full-duplex",
            "--min-receivers", len(self.receivers), "--file", self.path, *pace])
        time.sleep(START_S)
        for host in self.receivers:
            self.start_at_gate(host, ["udp-receiver", "--interface", "eth0", "--nokbd",
                                      "--no-progress", "--file", self.folder(host) / self.path.name])
