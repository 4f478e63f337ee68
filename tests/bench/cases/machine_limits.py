"""What the machine can do, whoever uses it: measured in the same run as all else."""

import json
import re
import subprocess
import tempfile
import time

import rivals
from contest import Setting, bench_lan
from machine import MIB

IPERF_S = 3


def iperf3():
    with bench_lan(hosts=2) as lan:
        server, client = lan.hosts
        server.popen(["iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        done = client.run(["iperf3", "-J", "-c", server.ip, "-t", IPERF_S])
        return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 8e9


def openssl_sha256(processes, seconds):
    """GB/s of `openssl speed` in this many processes together; 16 KiB blocks: a share's leaves."""
    argv = ["openssl", "speed", "-mr", "-evp", "sha256", "-bytes", "16384", "-seconds", str(seconds)]
    if processes > 1:
        argv += ["-multi", str(processes)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return float(re.findall(r"^\+F:\d+:sha256:([\d.]+)", done.stdout, re.M | re.I)[-1]) / 1e9


def write_new_file(mib):
    block = bytes(4 * MIB)
    with tempfile.TemporaryFile(buffering=0) as out:
        started = time.monotonic()
        for _ in range(mib // 4):
            out.write(block)
        return time.monotonic() - started


def memory_write(mib):
    """(s a GiB of a new file's pages as they come, the same right after)"""
    return [write_new_file(mib) * 1024 / mib for _ in range(2)]


def calibrate(bench):
    mib = bench.pick(2048, 512)
    for _ in range(bench.repeat):
        cold, warm = memory_write(mib)
        bench.note("calibrate", "memory", cold_s_per_gib=cold, warm_s_per_gib=warm)
        bench.attempt("calibrate", "iperf3", lambda: {"gb_s": iperf3()})
        bench.attempt("calibrate", "openssl_sha256",
                      lambda: {"gb_s": openssl_sha256(1, 1)})
        bench.hold("calibrate", rivals.Pipe, Setting(bench.pick(1024, 256), 1))
        time.sleep(3)  # the free pages go cold: the next round's first figure is such a one
