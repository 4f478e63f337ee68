"""A LAN of network namespaces, with real daemons on it, for tests and benches.

    with Lan(hosts=3, rate_mbit=100) as lan:
        a, b, c = lan.start_daemons()
        a.ronda("share", path)
        b.ronda("get", name, "-o", b.dir)

Every host is a network and a mount namespace of its own, with one interface
(`eth0`, 10.77.0.x/24 and fe80::), joined by a bridge in yet another namespace:
nothing gets a name outside, so that any number of LANs can exist side by side,
and nothing is left once the processes that hold the namespaces are gone (they
die with this process, however it ends).

Needs root, or a user who may `unshare -Urnm` (call ensure_privileges() first).
Traffic never leaves the namespaces: the bridge has no way out.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUBNET = "10.77.0"
HOSTS_MAX = 250
IFACE = "eth0"
# What tbf lets through at once, and how long its queue may get: small enough that
# a full queue adds little delay, large enough for TCP to fill the link. A burst below
# what TCP hands down in one piece (GSO) has tbf cut every piece into packets: eleven
# links of 100 Mbit/s then need more than two cores for the emulation alone.
# Such a piece is dropped whole and must leave others room in the queue: at a switch the
# packets of many senders mix. With pieces of 64 KiB, two of which fill it, 2 % of all is
# sent twice when several send to one; with 8 KiB less than half of that.
BURST_BYTES_MIN = 64 * 1024
BURST_MS = 1
GSO_BYTES = 8 * 1024
GSO_BYTES_UNLIMITED = 64 * 1024
QUEUE_BYTES_MIN = 64 * 1024
QUEUE_MS = 10
# TCP payload in what tbf counts: 1448 of 1514 bytes, less TLS records and frames.
GOODPUT = 0.953
START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 8
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab itself failed (not the thing under test)."""


def build_dir():
    """Where the binaries under test are: $BUILD, else build/."""
    path = Path(os.environ.get("BUILD", "build"))
    return path if path.is_absolute() else ROOT / path


def binary(name):
    path = build_dir() / name
    if not path.exists():
        raise LabError(f"{path} is not built: cmake --build {build_dir()}")
    return str(path)


def is_privileged():
    """May we make namespaces right now?"""
    if os.geteuid() != 0:
        return False
    probe = subprocess.run(["unshare", "-nm", "true"], stderr=subprocess.DEVNULL, check=False)
    return probe.returncode == 0


def ensure_privileges():
    """For scripts: start again in a user namespace when we are not root."""
    if is_privileged():
        return
    if os.environ.get("RONDA_LAB_UNSHARED"):
        raise LabError("cannot make namespaces here, not even with unshare -Urnm")
    os.environ["RONDA_LAB_UNSHARED"] = "1"
    os.execvp("unshare", ["unshare", "-Urnm", "--", sys.executable, *sys.argv])


def limit_seconds(size_bytes, rate_mbit):
    """The least time in which size_bytes can cross a link of rate_mbit."""
    return size_bytes * 8 / (rate_mbit * 1e6 * GOODPUT)


def _die_with_parent():
    # Between fork and exec: only calls that are safe there.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _sh(argv, stdin=None):
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Namespace:
    """Network and mount namespaces, held open by a sleeping process."""

    def __init__(self):
        # `read` on a pipe that nobody writes to: sleeps for ever, and ends with us.
        self.holder = subprocess.Popen(
            ["unshare", "-nm", "--propagation", "private", "sh", "-c",
             "mount -t tmpfs -o mode=755 tmpfs /run; ip link set lo up; echo; read _"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            preexec_fn=_die_with_parent)
        if not self.holder.stdout.readline():
            raise LabError("cannot make a namespace: root or unshare -Urnm is needed")
        self.enter = ["nsenter", "-t", str(self.holder.pid), "-n", "-m", "-w" + os.getcwd(), "--"]

    def sh(self, script):
        return _sh([*self.enter, "sh", "-ec", script])

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdin.close()
        self.holder.stdout.close()


class Result:
    """What a `ronda` command did. doc: its JSON (the last line's, when it printed several)."""

    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err
        self.docs = _parse_docs(out)
        self.doc = self.docs[-1] if self.docs else None

    def __repr__(self):
        return (f"<ronda {' '.join(self.argv)}: exit {self.code}\n"
                f"  stdout: {self.out[-2000:].strip()}\n  stderr: {self.err[-2000:].strip()}>")


def _parse_docs(text):
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    docs = []
    for line in text.splitlines():
        try:
            docs.append(json.loads(line))
        except ValueError:
            continue
    return docs


class Daemon:
    """A rondad on a host."""

    def __init__(self, host, argv, dirs, env):
        self.host, self.dirs = host, dirs
        self.socket = dirs["runtime"] / "control.sock"
        self.log = host.dir / "rondad.log"
        self.sent_signal = None
        with open(self.log, "ab") as log:
            self.process = host.popen(argv, env=env, stdout=log, stderr=log,
                                      stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    def answers(self):
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(str(self.socket))
            except OSError:
                return False
            return True

    def wait_ready(self, timeout_s=START_TIMEOUT_S):
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if self.process.poll() is not None:
                raise LabError(f"rondad on {self.host.name} ended with {self.process.returncode}:\n"
                               f"{self.log_tail()}")
            if time.monotonic() > deadline:
                raise LabError(f"rondad on {self.host.name} does not answer:\n{self.log_tail()}")
            time.sleep(0.02)
        return self

    def log_tail(self, chars=3000):
        return self.log.read_text(errors="replace")[-chars:]

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.sent_signal = number
        self.process.send_signal(number)

    def kill(self):
        """kill -9, as a crash."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s=STOP_TIMEOUT_S):
        """SIGTERM; returns the exit code. A daemon that does not leave is killed."""
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LabError(f"rondad on {self.host.name} did not leave within {timeout_s} s") from None

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rss_bytes(self):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def complaint(self):
        """Why this daemon's life was not a healthy one, or None."""
        code = self.process.poll()
        if code is not None and code < 0 and -code != self.sent_signal:
            return f"rondad on {self.host.name} died by signal {-code}:\n{self.log_tail()}"
        # SIGTERM and SIGINT ask for an orderly end: that is 0, leaks and all.
        if code and code > 0:
            return f"rondad on {self.host.name} left with {code}:\n{self.log_tail()}"
        text = self.log.read_text(errors="replace")
        for mark in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                     "WARNING: ThreadSanitizer"):
            at = text.find(mark)
            if at >= 0:
                return f"rondad on {self.host.name}: {text[max(0, at - 200):at + 3000]}"
        return None


class Host:
    """A machine of the LAN."""

    def __init__(self, lan, index, name):
        self.lan, self.index, self.name = lan, index, name
        self.ns = Namespace()
        self.ip = f"{SUBNET}.{index + 1}" if lan.ipv4 else None
        self.dir = lan.dir / name
        self.dir.mkdir()
        self.daemon = None
        self.daemons = []
        self.port_name = f"p{index}"

    # --- processes ---

    def popen(self, argv, env=None, **options):
        """A process on this host; its pid is the command's own. Killed with the LAN."""
        options.setdefault("preexec_fn", _die_with_parent)
        options.setdefault("start_new_session", True)
        full = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent", **(env or {})}
        process = subprocess.Popen([*self.ns.enter, *map(str, argv)], env=full, **options)
        self.lan.processes.append(process)
        return process

    def run(self, argv, timeout_s=60, check=True, **options):
        """Runs a command here to its end -> CompletedProcess with text."""
        process = self.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             **options)
        out, err, in_time = _communicate(process, timeout_s)
        if not in_time:
            raise LabError(f"{argv} on {self.name} took over {timeout_s} s\n{out[-1000:]}\n"
                           f"{err[-1000:]}")
        done = subprocess.CompletedProcess(argv, process.returncode, out, err)
        if check and done.returncode != 0:
            raise LabError(f"{argv} on {self.name}: exit {done.returncode}: {err.strip()}")
        return done

    # --- ronda ---

    def start_daemon(self, *extra, discovery="embedded", peers=(), env=None, wait=True,
                     config=None, fresh=False):
        """rondad with directories of its own below self.dir; the same ones when started again
        (fresh=True: others, as a machine that was never here)."""
        if self.daemon and self.daemon.running():
            raise LabError(f"rondad runs on {self.name} already")
        if fresh:
            self.daemons.append(self.daemon)
            shutil.rmtree(self.dir / "state", ignore_errors=True)
        dirs = {key: self.dir / key for key in ("state", "runtime", "download")}
        for path in dirs.values():
            path.mkdir(exist_ok=True, mode=0o700)
        # An empty file, so that the configuration of whoever runs the test is not read.
        conf = self.dir / "ronda.conf"
        conf.write_text(config or "")
        argv = [binary("rondad"), "--config", conf, "--state-dir", dirs["state"],
                "--runtime-dir", dirs["runtime"], "--download-dir", dirs["download"],
                "--name", self.name, "--discovery", discovery]
        for peer in peers:
            argv += ["--peer", peer]
        self.daemon = Daemon(self, [*argv, *extra], dirs, env)
        self.daemons.append(self.daemon)
        return self.daemon.wait_ready() if wait else self.daemon

    def _ronda_argv(self, args, use_json):
        sock = self.daemon.socket if self.daemon else self.dir / "runtime" / "control.sock"
        return [binary("ronda"), "--socket", sock, *(["--json"] if use_json else []), *args]

    def ronda(self, *args, timeout_s=60, use_json=True, check=True, **options):
        """Runs a ronda command -> Result; check: it must exit with 0."""
        args = [str(a) for a in args]
        done = self.run(self._ronda_argv(args, use_json), timeout_s=timeout_s, check=False,
                        stdin=subprocess.DEVNULL, **options)
        result = Result(args, done.returncode, done.stdout, done.stderr)
        if check and result.code != 0:
            log = self.daemon.log_tail() if self.daemon else "(no daemon)"
            raise AssertionError(f"on {self.name}: {result!r}\n--- rondad.log\n{log}")
        return result

    def ronda_start(self, *args, use_json=True, **options):
        """The same, not waiting -> Popen with pipes; finish with ronda_end()."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return self.popen(self._ronda_argv([str(a) for a in args], use_json), text=True,
                          stdin=subprocess.DEVNULL, **options)

    def ronda_end(self, process, timeout_s=60, check=True):
        out, err, in_time = _communicate(process, timeout_s)
        if not in_time:
            log = self.daemon.log_tail() if self.daemon else "(no daemon)"
            raise AssertionError(f"on {self.name}: no end after {timeout_s} s: {out[-1000:]} "
                                 f"{err[-1000:]}\n--- rondad.log\n{log}")
        result = Result([], process.returncode, out, err)
        if check and result.code != 0:
            raise AssertionError(f"on {self.name}: {result!r}\n{self.daemon.log_tail()}")
        return result

    # --- the link ---

    def counters(self):
        """(received, sent) bytes of eth0 so far, with Ethernet headers."""
        for line in Path(f"/proc/{self.ns.holder.pid}/net/dev").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name.strip() == IFACE:
                fields = rest.split()
                return int(fields[0]), int(fields[8])
        raise LabError(f"{self.name} has no {IFACE}")

    def set_rate(self, rate_mbit):
        """Each way; None: as fast as it goes."""
        self.ns.sh(f"ip link set dev {IFACE} gso_max_size "
                   f"{GSO_BYTES if rate_mbit else GSO_BYTES_UNLIMITED}")
        self.ns.sh(_rate_script(IFACE, rate_mbit))
        self.lan.bridge.sh(_rate_script(self.port_name, rate_mbit))

    def link(self, up):
        """Pulls the cable (the host sees no carrier), or puts it back."""
        self.lan.bridge.sh(f"ip link set {self.port_name} {'up' if up else 'down'}")

    def link_local(self):
        """fe80:: address of eth0, without scope."""
        doc = json.loads(self.ns.sh(f"ip -j -6 addr show dev {IFACE} scope link"))
        for item in doc[0]["addr_info"] if doc else []:
            return item["local"]
        raise LabError(f"{self.name} has no link-local address")


def _rate_script(dev, rate_mbit):
    if not rate_mbit:
        return f"tc qdisc del dev {dev} root 2>/dev/null || true"
    bytes_per_ms = rate_mbit * 125
    burst = int(max(BURST_BYTES_MIN, BURST_MS * bytes_per_ms))
    queue = int(max(QUEUE_BYTES_MIN, QUEUE_MS * bytes_per_ms))
    return (f"tc qdisc replace dev {dev} root tbf rate {int(rate_mbit * 1000)}kbit "
            f"burst {burst} limit {queue}")


def _kill_group(process):
    # popen() gave each a session: what it started goes with it.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


def _communicate(process, timeout_s):
    """-> (stdout, stderr, True), or what there was of them until it was killed, and False."""
    try:
        return *process.communicate(timeout=timeout_s), True
    except subprocess.TimeoutExpired:
        _kill_group(process)
        return *process.communicate(), False


class Lan:
    """hosts: how many, or their names. rate_mbit: each way, of every link; None: no limit.
    ipv4=False: link-local IPv6 only. keep: the files of the run stay (as after a failure,
    when close(failed=True) is called)."""

    def __init__(self, hosts=2, rate_mbit=None, ipv4=True, keep=False):
        names = [f"h{i + 1}" for i in range(hosts)] if isinstance(hosts, int) else list(hosts)
        if len(names) > HOSTS_MAX:
            raise LabError(f"at most {HOSTS_MAX} hosts")
        self.ipv4, self.keep = ipv4, keep
        self.processes, self.hosts, self.bridge = [], [], None
        self.dir = Path(tempfile.mkdtemp(prefix="ronda-lab-"))
        try:
            self._build(names, rate_mbit)
        except BaseException:
            self.close()
            raise

    def _build(self, names, rate_mbit):
        self.bridge = Namespace()
        # No snooping: multicast reaches every port, as on a plain switch.
        # Bridged frames need no look from the firewall.
        self.bridge.sh("for f in /proc/sys/net/bridge/bridge-nf-call-*; do "
                       "echo 0 2>/dev/null >$f || true; done")
        self.bridge.sh("ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up")
        for index, name in enumerate(names):
            self.hosts.append(Host(self, index, name))
            self._attach(self.hosts[-1])
            if rate_mbit:
                self.hosts[-1].set_rate(rate_mbit)

    def _attach(self, host):
        self.bridge.sh(
            f"ip link add {host.port_name} type veth peer name {IFACE} "
            f"netns {host.ns.holder.pid}; "
            f"ip link set {host.port_name} master br0 up")
        address = f"ip addr add {host.ip}/24 brd + dev {IFACE};" if host.ip else ""
        # Without duplicate address detection fe80:: is usable at once.
        # Reno: the same on every machine, fair behind such a short queue, and what cubic
        # (Debian's) falls back to at a LAN's round trip times. BBR is neither.
        host.ns.sh(f"echo 0 >/proc/sys/net/ipv6/conf/{IFACE}/accept_dad || true; "
                   f"echo reno 2>/dev/null >/proc/sys/net/ipv4/tcp_congestion_control || true; "
                   f"{address} "
                   f"ip link set {IFACE} up; "
                   f"ip route add 224.0.0.0/4 dev {IFACE} || true")

    def __getitem__(self, index):
        return self.hosts[index]

    def split(self, away):
        """Cuts the LAN in two: the hosts in `away` see only one another, until heal()."""
        ports = "; ".join(f"ip link set {h.port_name} master br1" for h in away)
        self.bridge.sh("ip link show br1 >/dev/null 2>&1 || "
                       "ip link add br1 type bridge mcast_snooping 0; ip link set br1 up; " + ports)

    def heal(self):
        self.bridge.sh("; ".join(f"ip link set {h.port_name} master br0" for h in self.hosts))

    def start_daemons(self, *extra, **options):
        """The same on every host -> the hosts."""
        for host in self.hosts:
            host.start_daemon(*extra, **options)
        return self.hosts

    def complaints(self):
        found = [d.complaint() for h in self.hosts for d in h.daemons if d]
        return [text for text in found if text]

    def stop_daemons(self):
        """SIGTERM to all; who is not gone in time is killed, which is a complaint."""
        daemons = [d for h in self.hosts for d in h.daemons if d]
        for daemon in daemons:
            if daemon.running():
                daemon.signal(signal.SIGTERM)
                daemon.signal(signal.SIGCONT)
                daemon.sent_signal = signal.SIGTERM
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for daemon in daemons:
            try:
                daemon.process.wait(max(0.01, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                daemon.process.kill()
                daemon.process.wait()

    def close(self, failed=False):
        """Stops everything; the directory goes unless failed or keep."""
        self.stop_daemons()
        for process in self.processes:
            if process.poll() is None:
                _kill_group(process)
                process.wait()
        for space in [h.ns for h in self.hosts] + ([self.bridge] if self.bridge else []):
            space.close()
        if failed or self.keep:
            print(f"lab: logs and files are kept in {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        complaints = []
        try:
            self.stop_daemons()
            complaints = self.complaints()
        finally:
            self.close(failed=bool(kind or complaints))
        if complaints and not kind:
            raise AssertionError("\n".join(complaints))


def close_all(lans, failed=False):
    """Of several LANs -> what their daemons complained of; files are kept if so, or if failed."""
    for lan in lans:
        lan.stop_daemons()
    complaints = [text for lan in lans for text in lan.complaints()]
    for lan in lans:
        lan.close(failed=failed or bool(complaints))
    return complaints
