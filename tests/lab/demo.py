#!/usr/bin/python3
"""The party on one machine: a source, ten guests, one file, links of 100 Mbit/s.

    ./run.sh demo [--guests N] [--size MIB] [--rate MBIT]

First the old way (one HTTP server, every guest fetches from it), then ronda, on the
same links in the same run. Traffic stays inside network namespaces made for it.
"""

import argparse
import http.server
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from lan import Lan, LabError, ensure_privileges, limit_seconds  # noqa: E402
from party import MIB, make_file, peers, rows, sha256, transfer, wait_for  # noqa: E402

BAR_CELLS = 40
FRAME_S = 0.2
PLAIN_EVERY_S = 5
HTTP_PORT = 8080


class Bars:
    """One bar a guest: redrawn in place on a terminal, now and then a line elsewhere."""

    def __init__(self, title, names):
        self.title, self.names = title, names
        self.live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.colour = self.live and not os.environ.get("NO_COLOR")
        self.drawn, self.last = False, 0.0
        print(f"\n{title}", flush=True)

    def show(self, shares, seconds, note, final=False):
        """shares: 0..1 of each guest."""
        if not self.live:
            if final or seconds - self.last >= PLAIN_EVERY_S:
                self.last = seconds
                print(f"  {seconds:6.1f} s  " + " ".join(f"{100 * s:3.0f}%" for s in shares) +
                      f"   {note}", flush=True)
            return
        lines = [self.bar(name, part) for name, part in zip(self.names, shares)]
        lines.append(f"  {seconds:6.1f} s   {note}")
        up = f"\x1b[{len(lines)}A" if self.drawn else ""
        sys.stdout.write(up + "".join(f"\x1b[2K{line}\n" for line in lines))
        sys.stdout.flush()
        self.drawn = True

    def bar(self, name, part):
        cells = int(part * BAR_CELLS + 0.5)
        fill, rest = "█" * cells, "·" * (BAR_CELLS - cells)
        if self.colour:
            fill = f"\x1b[{32 if part >= 1 else 36}m{fill}\x1b[0m"
        return f"  {name:>8} {fill}{rest} {100 * part:3.0f}%"


def size_so_far(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def follow(bars, jobs, fraction, note):
    """Draws until all jobs have ended -> seconds it took."""
    started = time.monotonic()
    while any(job.poll() is None for job in jobs):
        bars.show(fraction(), time.monotonic() - started, note())
        time.sleep(FRAME_S)
    seconds = time.monotonic() - started
    bars.show(fraction(), seconds, note(), final=True)
    for job in jobs:
        out, err = job.communicate()
        if job.returncode != 0:
            raise LabError(f"a guest failed with {job.returncode}: {out} {err}")
    return seconds


def check(paths, want):
    for path in paths:
        if sha256(path) != want:
            raise LabError(f"{path} is not what was shared")


def client_server(source, guests, path, size):
    """-> (seconds, bytes the source sent)"""
    if shutil.which("nginx"):
        conf = source.dir / "nginx.conf"
        temps = " ".join(f"{kind}_temp_path {source.dir}/t;"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf.write_text(f"user root; daemon off; pid {source.dir}/nginx.pid; error_log {source.dir}/nginx.log; "
                        f"events {{}} http {{ access_log off; sendfile on; {temps} "
                        f"server {{ listen {HTTP_PORT}; root {path.parent}; }} }}\n")
        argv, label = ["nginx", "-c", conf, "-e", source.dir / "nginx.log"], "nginx"
    else:
        argv, label = ["/usr/bin/python3", __file__, "--serve", path.parent], "python3 http.server"
    server = source.popen(argv, stdout=-3, stderr=-3)
    url = f"http://{source.ip}:{HTTP_PORT}/{path.name}"
    try:
        wait_for("the HTTP server answers", lambda: source.run(
            ["curl", "-sfI", "-o", "/dev/null", url], check=False).returncode == 0)
        outs = [g.dir / "http.bin" for g in guests]
        before = source.counters()[1]
        jobs = [g.popen(["curl", "-sf", "-o", out, url], stdout=-1, stderr=-1, text=True)
                for g, out in zip(guests, outs)]
        bars = Bars(f"One server for all ({label}, curl)", [g.name for g in guests])
        seconds = follow(bars, jobs, lambda: [size_so_far(out) / size for out in outs],
                         lambda: f"the source sent {(source.counters()[1] - before) / size:5.2f} copies")
        sent = source.counters()[1] - before
        check(outs, sha256(path))
        for out in outs:
            out.unlink()
    finally:
        server.terminate()
        server.wait()
    return seconds, sent


def ronda(source, guests, path, size):
    """-> (seconds, bytes the source sent)"""
    for host in [source, *guests]:
        host.start_daemon()
    wait_for("everybody knows everybody", lambda: all(
        len(peers(h)) >= len(guests) for h in [source, *guests]))
    said = source.ronda("share", path).doc
    for guest in guests:
        wait_for("every guest lists it", lambda g=guest: any(r["id"] == said["id"] for r in rows(g)))
    for guest in guests:
        (guest.dir / "got").mkdir()
    before = source.counters()[1]
    jobs = [g.ronda_start("get", said["id"], "-o", g.dir / "got", stdout=-3) for g in guests]
    bars = Bars("ronda", [g.name for g in guests])
    seconds = follow(bars, jobs,
                     lambda: [transfer(g, said["id"]).get("done_bytes", 0) / size for g in guests],
                     lambda: f"the source sent {(source.counters()[1] - before) / size:5.2f} copies")
    sent = source.counters()[1] - before
    check([g.dir / "got" / path.name for g in guests], sha256(path))
    return seconds, sent


def table(args, size, results):
    print(f"\n{args.size} MiB to {args.guests} guests at {args.rate} Mbit/s each way. No way can be "
          f"faster than one copy over one link: {limit_seconds(size, args.rate):.2f} s.\n")
    print(f"  {'':16} {'time':>9} {'limit':>9} {'ratio':>7} {'copies the source sent':>24}")
    for name, (seconds, sent) in results.items():
        limit = limit_seconds(size, args.rate)
        print(f"  {name:16} {seconds:7.2f} s {limit:7.2f} s {seconds / limit:7.2f} {sent / size:24.2f}")
    print("\nEvery copy's SHA-256 was compared with the source's.")


def serve(folder):
    os.chdir(folder)
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,),
                   {"log_message": lambda *_: None})
    http.server.ThreadingHTTPServer(("", HTTP_PORT), handler).serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guests", type=int, default=10)
    parser.add_argument("--size", type=int, default=64, help="MiB (64)")
    parser.add_argument("--rate", type=int, default=100, help="Mbit/s each way (100)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return 0
    ensure_privileges()
    size = args.size * MIB
    names = ["source"] + [f"guest{i + 1}" for i in range(args.guests)]
    print(f"A party: {args.size} MiB to {args.guests} guests, every link {args.rate} Mbit/s each way.")
    try:
        with Lan(names, rate_mbit=args.rate) as lan:
            source, guests = lan.hosts[0], lan.hosts[1:]
            path = make_file(source.dir / "songs.bin", size)
            results = {"client-server": client_server(source, guests, path, size),
                       "ronda": ronda(source, guests, path, size)}
            table(args, size, results)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
