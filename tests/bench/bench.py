#!/usr/bin/env python3
"""Benchmarks: what a user would time, in one run on one machine.

    tests/bench/bench.py [--json FILE] [CASE...]       (default: all cases)

  swarm     one file to N receivers at a limited rate: time / bound, copies the source sent
  single    one unshaped transfer, against nginx + curl and a bare TLS + SHA-256 pipe
  memory    the daemons' memory while they move a large file
  idle      wake-ups and CPU time of daemons that have nothing to do
  small     many small files to four receivers, against rsync to one of them

bound = size x 8 / (rate x 0.953): the time of one copy, however many receive.
Nothing else should run meanwhile. Figures are ratios taken within one run where
they can be: these machines are shared and noisy.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
from lan import Lan, binary, ensure_privileges, limit_seconds  # noqa: E402

MIB = 1 << 20


def make_file(path, size):
    """Bytes that do not compress and are not cached away, quickly."""
    block = os.urandom(4 * MIB)
    with open(path, "wb") as out:
        left, n = size, 0
        while left > 0:
            piece = n.to_bytes(8, "big") + block[8:]
            out.write(piece[:min(left, len(piece))])
            left -= len(piece)
            n += 1
    return path


def warm_memory(mib=6144):
    """Writes and drops a file: a virtual machine's first touch of a page costs ten times a
    later one, and whoever is timed first would pay for all."""
    path = Path(tempfile.gettempdir()) / f"ronda-bench-warm-{os.getpid()}"
    try:
        with open(path, "wb") as out:
            block = bytes(4 * MIB)
            for _ in range(mib // 4):
                out.write(block)
    finally:
        path.unlink(missing_ok=True)


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(4 * MIB):
            digest.update(block)
    return digest.hexdigest()


def wait_peers(hosts, count, timeout_s=30):
    """Until every host knows `count` others: discovery is not what is timed here."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if all(len(h.ronda("peers").doc) >= count for h in hosts):
            return
        time.sleep(0.2)
    raise SystemExit("the hosts do not find each other")


def wait_listed(hosts, share_id, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if all(any(s["id"] == share_id for s in h.ronda("ls").doc) for h in hosts):
            return
        time.sleep(0.2)
    raise SystemExit("the share is not listed everywhere")


def get_on_all(hosts, share_id):
    """`ronda get` on all at once -> (seconds until the last is done, results). The processes
    wait at a gate, so that starting ten of them is not timed."""
    running = []
    for host in hosts:
        dest = host.dir / "got"
        dest.mkdir(exist_ok=True)
        process = host.popen(["sh", "-c", 'read -r _; exec "$@"', "sh", binary("ronda"), "--socket",
                              host.daemon.socket, "--json", "get", share_id, "-o", dest],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
        running.append((host, process))
    time.sleep(0.5)
    started = time.monotonic()
    for _, process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    results = [host.ronda_end(process, timeout_s=1200) for host, process in running]
    return time.monotonic() - started, results


def swarm_once(receivers, size, rate):
    with Lan(hosts=receivers + 1, rate_mbit=rate) as lan:
        source, rest = lan.hosts[0], lan.hosts[1:]
        path = make_file(source.dir / "image.bin", size)
        for host in lan.hosts:
            host.start_daemon()
        wait_peers(lan.hosts, receivers)
        share = source.ronda("share", path).doc
        wait_listed(rest, share["id"])
        sent_before = source.counters()[1]
        seconds, results = get_on_all(rest, share["id"])
        sent = source.counters()[1] - sent_before
        want = sha256_of(path)
        for host in rest:
            assert sha256_of(host.dir / "got" / "image.bin") == want, host.name
        return {"receivers": receivers, "seconds": seconds, "ratio": seconds / limit_seconds(size, rate),
                "copies": sent / size,
                "duplicates": sum(r.doc["duplicates_bytes"] for r in results) / (size * receivers)}


def case_swarm(args):
    rows = []
    for receivers in args.receivers:
        runs = [swarm_once(receivers, args.size * MIB, args.rate) for _ in range(args.repeat)]
        row = {key: statistics.median(r[key] for r in runs) for key in runs[0]}
        row.update(runs=args.repeat, size_mib=args.size, rate_mbit=args.rate)
        rows.append(row)
        print(f"swarm: {args.size} MiB to {receivers} at {args.rate} Mbit/s: {row['seconds']:.2f} s, "
              f"time/bound {row['ratio']:.3f}, copies {row['copies']:.3f}, "
              f"duplicates {100 * row['duplicates']:.2f} %", flush=True)
    return rows


# --- one unshaped flow -----------------------------------------------------------------

NGINX = """daemon off; user root; pid {dir}/nginx.pid; error_log {dir}/nginx.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{ access_log off; client_body_temp_path {dir}/t; proxy_temp_path {dir}/t;
  fastcgi_temp_path {dir}/t; uwsgi_temp_path {dir}/t; scgi_temp_path {dir}/t;
  sendfile on; server {{ listen 8080; root {dir}; }} }}
"""


def nginx_curl(source, receiver, path):
    conf = source.dir / "nginx.conf"
    conf.write_text(NGINX.format(dir=source.dir))
    server = source.popen(["nginx", "-c", conf])
    out = receiver.dir / "curl.bin"
    try:
        for _ in range(100):
            if receiver.run(["curl", "-sf", "-o", "/dev/null", "-r", "0-0",
                             f"http://{source.ip}:8080/{path.name}"], check=False).returncode == 0:
                break
            time.sleep(0.05)
        started = time.monotonic()
        receiver.run(["curl", "-sf", "-o", out, f"http://{source.ip}:8080/{path.name}"], timeout_s=300)
        return time.monotonic() - started
    finally:
        server.terminate()
        server.wait()
        out.unlink(missing_ok=True)


def tls_pipe(source, receiver, size):
    """TLS 1.3 and SHA-256 from memory, nothing on disk: what this machine can do at best."""
    pipe = binary("tests/tls-pipe")
    server = source.popen([pipe, "serve", "8443", str(size)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            done = receiver.run([pipe, "fetch", source.ip, "8443"], check=False, timeout_s=300)
            if done.returncode == 0:
                return json.loads(done.stdout)["seconds"]
            time.sleep(0.05)
        raise SystemExit("the TLS pipe does not come up")
    finally:
        server.kill()
        server.wait()


def case_single(args):
    size = 1024 * MIB
    rows = []
    for _ in range(args.repeat):
        with Lan(hosts=2) as lan:
            source, receiver = lan.hosts
            path = make_file(source.dir / "image.bin", size)
            for host in lan.hosts:
                host.start_daemon()
            wait_peers(lan.hosts, 1)
            share = source.ronda("share", path).doc
            wait_listed([receiver], share["id"])
            seconds, _ = get_on_all([receiver], share["id"])
            assert sha256_of(receiver.dir / "got" / "image.bin") == sha256_of(path)
            (receiver.dir / "got" / "image.bin").unlink()
            rows.append({"ronda": seconds, "nginx_curl": nginx_curl(source, receiver, path),
                         "tls_pipe": tls_pipe(source, receiver, size)})
    row = {key: statistics.median(r[key] for r in rows) for key in rows[0]}
    row["runs"] = args.repeat
    print(f"single: 1 GiB unshaped: ronda {row['ronda']:.2f} s, nginx+curl (no TLS, no hash) "
          f"{row['nginx_curl']:.2f} s, TLS 1.3 + SHA-256 pipe {row['tls_pipe']:.2f} s: "
          f"ronda/nginx {row['ronda'] / row['nginx_curl']:.2f}, pipe/ronda "
          f"{row['tls_pipe'] / row['ronda']:.2f}", flush=True)
    return row


# --- memory ----------------------------------------------------------------------------

def peak_rss(daemon):
    text = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text).group(1)) / 1024


def case_memory(_args):
    size = 4096 * MIB
    with Lan(hosts=2) as lan:
        source, receiver = lan.hosts
        path = source.dir / "image.bin"
        make_file(path, size)
        for host in lan.hosts:
            host.start_daemon()
        wait_peers(lan.hosts, 1)
        share = source.ronda("share", path, timeout_s=600).doc
        wait_listed([receiver], share["id"])
        seconds, _ = get_on_all([receiver], share["id"])
        row = {"gib": 4, "seconds": seconds, "source_peak_mib": peak_rss(source.daemon),
               "receiver_peak_mib": peak_rss(receiver.daemon)}
    print(f"memory: 4 GiB 1 -> 1 in {seconds:.1f} s: peak RSS source {row['source_peak_mib']:.1f} MiB, "
          f"receiver {row['receiver_peak_mib']:.1f} MiB", flush=True)
    return row


# --- idle ------------------------------------------------------------------------------

def context_switches(pid):
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text()
        total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M).group(1))
    return total


def cpu_ms(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


def case_idle(_args):
    seconds = 60
    with Lan(hosts=3) as lan:
        for host in lan.hosts:
            host.start_daemon()
        path = make_file(lan.hosts[0].dir / "image.bin", 8 * MIB)
        share = lan.hosts[0].ronda("share", path).doc
        wait_listed(lan.hosts[1:], share["id"])
        get_on_all(lan.hosts[1:], share["id"])
        time.sleep(45)  # sessions end, shares close, mDNS calms down
        before = [(context_switches(h.daemon.pid), cpu_ms(h.daemon.pid)) for h in lan.hosts]
        time.sleep(seconds)
        after = [(context_switches(h.daemon.pid), cpu_ms(h.daemon.pid)) for h in lan.hosts]
        row = {"seconds": seconds,
               "wakeups": [b[0] - a[0] for a, b in zip(before, after)],
               "cpu_ms": [b[1] - a[1] for a, b in zip(before, after)],
               "rss_mib": [h.daemon.rss_bytes() / MIB for h in lan.hosts]}
    print(f"idle: {seconds} s after a transfer, three daemons: wake-ups {row['wakeups']}, "
          f"CPU ms {row['cpu_ms']}, RSS MiB {[round(r, 1) for r in row['rss_mib']]}", flush=True)
    return row


# --- many small files ----------------------------------------------------------------------

def make_tree(root, count, size):
    for i in range(count):
        folder = root / f"d{i // 100:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{i:05d}").write_bytes(os.urandom(size))


def tree_digest(root):
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def rsync_once(source, receiver, tree):
    conf = source.dir / "rsyncd.conf"
    conf.write_text(f"use chroot = no\nuid = 0\ngid = 0\n[tree]\npath = {tree}\n")
    server = source.popen(["rsync", "--daemon", "--no-detach", "--config", conf, "--port", "8730"])
    dest = receiver.dir / "rsync"
    try:
        time.sleep(0.5)
        started = time.monotonic()
        receiver.run(["rsync", "-a", f"rsync://{source.ip}:8730/tree/", dest], timeout_s=300)
        return time.monotonic() - started
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(dest, ignore_errors=True)


def case_small(args):
    rows = []
    for _ in range(args.repeat):
        with Lan(hosts=5) as lan:
            source, rest = lan.hosts[0], lan.hosts[1:]
            tree = source.dir / "tree"
            make_tree(tree, 10000, 10240)
            for host in lan.hosts:
                host.start_daemon()
            wait_peers(lan.hosts, 4)
            share = source.ronda("share", tree).doc
            wait_listed(rest, share["id"])
            seconds, _ = get_on_all(rest, share["id"])
            want = tree_digest(tree)
            assert all(tree_digest(h.dir / "got" / "tree") == want for h in rest)
            rows.append({"ronda": seconds, "rsync": rsync_once(source, rest[0], tree)})
    row = {key: statistics.median(r[key] for r in rows) for key in rows[0]}
    row["runs"] = args.repeat
    print(f"small: 10,000 x 10 KiB: ronda to 4 receivers {row['ronda']:.2f} s, rsync -a to one "
          f"{row['rsync']:.2f} s: {row['ronda'] / row['rsync']:.2f}", flush=True)
    return row


CASES = {"swarm": case_swarm, "single": case_single, "memory": case_memory, "idle": case_idle,
         "small": case_small}
# What a case compares with, and its Debian package (tests/packages.sh: packages_bench).
TOOLS = {"single": {"nginx": "nginx-light", "curl": "curl", "openssl": "openssl"},
         "small": {"rsync": "rsync"}}


def need_tools(cases):
    missing = {package for case in cases for tool, package in TOOLS.get(case, {}).items()
               if not shutil.which(tool)}
    if missing:
        raise SystemExit("missing: apt-get install --no-install-recommends " + " ".join(sorted(missing)))



def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--receivers", type=int, nargs="+", default=[1, 2, 4, 10])
    parser.add_argument("--size", type=int, default=256, help="MiB, for swarm")
    parser.add_argument("--rate", type=float, default=100, help="Mbit/s each way, for swarm")
    parser.add_argument("--repeat", type=int, default=1, help="runs; the median is told")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    unknown = [c for c in args.cases if c not in CASES]
    if unknown:
        parser.error(f"no case {unknown[0]}; there are: {', '.join(CASES)}")
    need_tools(args.cases or CASES)
    ensure_privileges()
    figures = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"}
    warm_memory()
    for name in args.cases or CASES:
        figures[name] = CASES[name](args)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
