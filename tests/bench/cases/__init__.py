"""The cases: what is measured. Each is a function of a Bench (bench.py), which gives the
settings, holds contests and keeps the results."""

from . import hashing, idle, machine_limits, memory, sched, single, small, swarm

# name: (function, what it is)
ALL = {
    "calibrate": (machine_limits.calibrate, "iperf3, a bare TLS + SHA-256 pipe, SHA-256, memory"),
    "swarm": (swarm.swarm, "256 MiB to 10 at 100 Mbit/s, everybody"),
    "flat": (swarm.flat, "N = 1, 2, 4, 8, 16, 24 at a rate that two cores carry"),
    "medium": (swarm.medium, "16 MiB to 10 at 100 Mbit/s"),
    "little": (swarm.little, "1 MiB to 10: from `get` to all done"),
    "leave": (swarm.leave, "the source goes once it has given one copy"),
    "mixed": (swarm.mixed, "links of 10, 50, 100 and 100 Mbit/s"),
    "timeline": (swarm.timeline, "who holds how much while 10 receive"),
    "single": (single.single, "1 GiB to one, not limited, against the bare pipe"),
    "cpu": (single.cpu, "CPU seconds a GiB delivered, 4 receivers, not limited"),
    "small": (small.small, "10,000 x 10 KiB to 4, against rsync to one"),
    "hash": (hashing.hashing, "indexing 4 GiB, against openssl speed"),
    "memory": (memory.memory, "peak RSS with 100 GB and 40 neighbours"),
    "sched": (sched.sched, "the scheduler's CPU time a chunk, 65,536 chunks and 40 neighbours"),
    "idle": (idle.idle, "wake-ups and CPU of daemons with nothing to do"),
}
