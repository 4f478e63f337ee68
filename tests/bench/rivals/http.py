"""nginx at the source, curl at the receivers: no encryption, no check of what arrived."""

import time

from .base import Rival, RivalError

PORT = 8080
CONF = """daemon off; user root; pid {dir}/nginx.pid; error_log {dir}/nginx.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {dir}/t; proxy_temp_path {dir}/t;
  fastcgi_temp_path {dir}/t; uwsgi_temp_path {dir}/t; scgi_temp_path {dir}/t;
  sendfile on; server {{ listen {port}; root {root}; }} }}
"""


class Http(Rival):
    name = "nginx_curl"
    label = "nginx + curl"
    tools = {"nginx": "nginx-light", "curl": "curl"}
    is_client_server = True
    smaller = 8
    note = "no TLS, no hash"

    def prepare(self):
        folder = self.folder(self.source)
        self.conf = folder / "nginx.conf"
        self.conf.write_text(CONF.format(dir=folder, port=PORT, root=self.path.parent))

    def seed(self):
        self.start(self.source, ["nginx", "-c", self.conf, "-e", self.log(self.source)])
        url = f"http://{self.source.ip}:{PORT}/{self.path.name}"
        for _ in range(100):
            if self.source.run(["curl", "-sfI", "-o", "/dev/null", url], check=False).returncode == 0:
                break
            time.sleep(0.05)
        else:
            raise RivalError(f"nginx does not answer: {self.log_tail(self.source)}")
        for host in self.receivers:
            out = self.folder(host) / self.path.name
            self.start_at_gate(host, ["curl", "-sf", "-o", out, url])
