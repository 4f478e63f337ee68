"""What the scheduler takes of a CPU, alone: the real one, its neighbours made up."""

import json
import subprocess

import rivals
from lan import binary
from machine import MIB

NEIGHBOURS = 40


def sched(bench):
    if not bench.wants(rivals.Ronda):
        return
    chunks = bench.pick(65_536, 4_096)

    def measure():
        done = subprocess.run([binary("tests/sched-cost"), str(chunks), str(NEIGHBOURS)],
                              capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)
        return {"chunks": chunks, "us_a_chunk": said["ns_a_chunk"] / 1000,
                "messages_a_chunk": said["messages_a_chunk"],
                "memory_mib": said["memory_bytes"] / MIB}

    for _ in range(bench.repeat):
        bench.attempt("sched", "ronda", measure, receivers=NEIGHBOURS)
