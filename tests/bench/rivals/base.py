"""What is measured has one interface, whoever it is:

    rival = Ronda(source, receivers, path)
    rival.prepare()            configuration, torrents, certificates
    rival.seed()               the source can be fetched from, the receivers stand at the gate
    rival.go()                 the clock starts: they may go
    times = rival.wait(60)     seconds until each receiver held all of it; None: not by then
    rival.stop()

Discovery of one another is not what is timed: where a program can be brought together with
the others before, or be told who they are, it is. `late_discovery` marks those that cannot.
"""

import os
import resource
import signal
import subprocess
import time
from pathlib import Path

POLL_S = 0.005
POLL_MANY_S = 0.01


class RivalError(Exception):
    """A contender failed; the run goes on without it."""


def _stat_fields(pid):
    """Of /proc/PID/stat, from the state on; [] when the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


class Rival:
    """One system under test on one LAN, for one file (or folder)."""

    name = ""                   # in the JSON
    label = ""                  # for people
    tools: dict[str, str] = {}  # program (or "python3:MODULE") -> Debian package
    is_ours = False
    is_client_server = False    # every copy comes from the source: N times the bound
    late_discovery = False
    smaller = 1                 # to many, it gets a file so much smaller: it takes that long
    keeps_copy = True           # there is something to compare with the source's afterwards
    note = ""                   # what it does not do that others do

    def __init__(self, source, receivers, path, rate_mbit=None):
        self.source, self.receivers, self.path = source, receivers, path
        self.rate_mbit = rate_mbit  # of every link; None: not limited
        self.processes: list[subprocess.Popen] = []
        self.gates: list[subprocess.Popen] = []
        self.started = 0.0

    # --- what a rival says for itself ---

    def prepare(self):
        """Files and settings; nothing runs after it."""

    def seed(self):
        raise NotImplementedError

    def fetch(self):
        """By default all processes at the gate may go."""
        for process in self.gates:
            process.stdin.write(b"\n")
            process.stdin.flush()

    def has_all(self, index):
        """Does this receiver hold everything, in place? By default its process ended well."""
        code = self.gates[index].poll()
        if code:
            raise RivalError(f"{self.name} on {self.receivers[index].name}: exit {code}: "
                             f"{self.log_tail(self.receivers[index])}")
        return code == 0

    def output(self, index):
        """Where the receiver's copy is, once has_all()."""
        return self.receivers[index].dir / self.name / self.path.name

    # --- the clock ---

    def go(self):
        self.started = time.monotonic()
        self.fetch()

    def wait(self, limit_s, watch=None):
        """watch(seconds) is called at every poll."""
        times = [None] * len(self.receivers)
        pause = POLL_S if len(times) < 4 else POLL_MANY_S
        while True:
            seconds = time.monotonic() - self.started
            for index, done in enumerate(times):
                if done is None and self.has_all(index):
                    times[index] = time.monotonic() - self.started
            if watch:
                watch(seconds)
            if all(t is not None for t in times) or seconds > limit_s:
                return times
            time.sleep(pause)

    # --- processes ---

    def folder(self, host):
        """A directory of this system's own on a host."""
        path = host.dir / self.name
        path.mkdir(exist_ok=True)
        return path

    def log(self, host):
        return host.dir / f"{self.name}.log"

    def log_tail(self, host, chars=300):
        try:
            return self.log(host).read_text(errors="replace")[-chars:].strip()
        except OSError:
            return "(no log)"

    def start(self, host, argv, **options):
        with open(self.log(host), "ab") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options}
            process = host.popen(argv, **options)
        self.processes.append(process)
        return process

    def start_at_gate(self, host, argv, **options):
        """Starts a shell that becomes argv when fetch() lets it: starting ten processes is
        not what is timed."""
        process = self.start(host, ["sh", "-c", 'read -r _; exec "$@"', "sh", *argv],
                             stdin=subprocess.PIPE, **options)
        self.gates.append(process)
        return process

    def cpu_seconds(self):
        """user + sys of all its processes so far, those that have ended included: what
        differences of it tell."""
        sessions = {str(p.pid) for p in self.processes}
        ticks = 0
        for entry in os.listdir("/proc"):
            fields = _stat_fields(entry) if entry.isdigit() else []
            if len(fields) > 14 and fields[3] in sessions and fields[0] != "Z":
                ticks += sum(map(int, fields[11:15]))
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ticks / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()
