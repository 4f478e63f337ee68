"""The units for real: a Debian of its own is booted with no network, rondad in it.

The system is made once by debootstrap from the mirror that this machine's apt uses, kept in
/var/cache/ronda-tests, and used through an overlay that goes away. What runs inside is
CHECK below; it leaves one file a question in /check, and the tests read these.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("RONDA_TEST_CACHE", "/var/cache/ronda-tests"))
BOOT_TIMEOUT_S = 180
BASE = ["systemd", "systemd-sysv", "dbus", "libpam-systemd"]

CHECK = r"""#!/bin/sh
# Runs inside, once, as root. Each answer is a file in /check.
exec 2>/check/trace; set -x
export RONDA_SOCKET=/run/ronda/control.sock
wait_for() { i=0; until "$@"; do i=$((i+1)); [ $i -ge 100 ] && return 1; sleep 0.2; done; }
show() { systemctl show rondad -p ActiveState -p SubState -p Result -p ExecMainStatus -p NRestarts -p Type; }
wait_for systemctl is-active -q rondad
show >/check/started
ls /sys/class/net >/check/interfaces
wait_for ronda status >/check/status 2>&1
ronda version >/check/version 2>&1; echo $? >/check/version.code
stat -c '%U %G %a %n' /var/lib/ronda /run/ronda /run/ronda/control.sock /srv/ronda /etc/ronda >/check/dirs 2>&1
echo hello >/srv/hello; chmod 644 /srv/hello
ronda share /srv/hello >/check/share 2>&1; echo $? >/check/share.code

# A crash: systemd brings it back, and it still knows what it shares.
systemctl kill -s KILL rondad
crashed() { [ "$(systemctl show -P NRestarts rondad)" = 1 ] && systemctl is-active -q rondad; }
wait_for crashed
show >/check/restarted
wait_for ronda ls >/check/ls.out 2>&1
ronda ls >/check/ls 2>&1

systemctl stop rondad
show >/check/stopped
journalctl -u rondad -o cat --no-pager >/check/journal

# The user's own: started by the user's manager, writes into the home directory.
unset RONDA_SOCKET
useradd -m -s /bin/sh guest
loginctl enable-linger guest
uid=$(id -u guest)
as_guest() { setpriv --reuid "$uid" --regid "$uid" --init-groups \
    env HOME=/home/guest XDG_RUNTIME_DIR=/run/user/"$uid" "$@"; }
wait_for test -S /run/user/"$uid"/systemd/private
as_guest systemctl --user start rondad
as_guest systemctl --user show rondad -p ActiveState -p SubState -p Result >/check/user
wait_for as_guest ronda status >/check/user.status 2>&1
echo mine >/home/guest/song; chown guest: /home/guest/song
as_guest ronda share /home/guest/song >/check/user.share 2>&1; echo $? >/check/user.share.code
ls -A /home/guest/.local/state/ronda >/check/user.state
as_guest systemctl --user stop rondad
as_guest systemctl --user show rondad -p ActiveState -p Result -p ExecMainStatus >/check/user.stopped
journalctl -b _SYSTEMD_USER_UNIT=rondad.service + _UID="$uid" -o cat --no-pager >/check/user.journal
touch /check/finished
systemctl poweroff --force
"""

CHECK_UNIT = """[Unit]
After=rondad.service
[Service]
Type=oneshot
ExecStart=/check/check.sh
[Install]
WantedBy=multi-user.target
"""


def run(argv, **options):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{argv}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return done.stdout


def why_not():
    for tool in ("systemd-nspawn", "debootstrap", "apt-get"):
        if not shutil.which(tool):
            return f"no {tool}"
    if os.geteuid() != 0 or "4294967295" not in Path("/proc/self/uid_map").read_text():
        return "needs to be root, not of a user namespace"
    return None


def apt_source():
    """(mirror, codename) of this machine's Debian, from apt's own configuration."""
    lines = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)",
                 "Identifier: Packages", "Origin: Debian", "Component: main"]).splitlines()
    release = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text().split())
    for line in lines:
        uri, codename = line.split()
        if codename == release.get("VERSION_CODENAME"):
            return uri, codename
    return None


def runtime_packages(build):
    """The packages whose libraries the binaries are linked to."""
    paths = set()
    for name in ("rondad", "ronda"):
        for line in run(["ldd", build / name]).splitlines():
            fields = line.split()
            if "=>" in fields and fields[2].startswith("/"):
                paths.add(fields[2])
    found = set()
    for path in paths:
        # dpkg knows a library by the place it was unpacked to, which may be without /usr.
        for spelling in (path, path.removeprefix("/usr"), os.path.realpath(path)):
            done = subprocess.run(["dpkg", "-S", spelling], capture_output=True, text=True,
                                  check=False)
            if done.returncode == 0:
                found.add(done.stdout.split(":")[0])
                break
    return sorted(found)


def make_rootfs(packages):
    root = CACHE / "rootfs"
    stamp = CACHE / "rootfs.packages"
    wanted = " ".join(BASE + packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return root
    source = apt_source()
    if not source:
        pytest.skip("apt knows no Debian mirror for this release")
    shutil.rmtree(root, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        run(["debootstrap", "--variant=minbase", "--include=" + ",".join(BASE + packages),
             source[1], root, source[0]], timeout=900)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(root, ignore_errors=True)
        pytest.skip(f"debootstrap does not get through here: {str(error)[-300:]}")
    stamp.write_text(wanted)
    return root


class Overlay:
    """A throw-away copy of a directory tree, in memory."""

    def __init__(self, lower, base):
        self.top, self.base = base / "top", base
        run(["mount", "-t", "tmpfs", "tmpfs", base])
        for name in ("up", "work", "top"):
            (base / name).mkdir()
        try:
            run(["mount", "-t", "overlay", "overlay", "-o",
                 f"lowerdir={lower},upperdir={base}/up,workdir={base}/work", self.top])
        except RuntimeError:
            run(["umount", base])
            raise

    def close(self):
        run(["umount", "-R", self.top])
        run(["umount", self.base])


def install(build, top):
    run(["cmake", "--install", build], env={**os.environ, "DESTDIR": str(top)}, timeout=120)
    check = top / "check"
    check.mkdir()
    (check / "check.sh").write_text(CHECK)
    (check / "check.sh").chmod(0o755)
    unit = top / "etc/systemd/system/ronda-check.service"
    unit.write_text(CHECK_UNIT)
    wants = top / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    for name, target in (("ronda-check.service", unit), ("rondad.service", find_unit(top))):
        (wants / name).symlink_to("/" + str(target.relative_to(top)))


def find_unit(top):
    for prefix in ("usr/local/lib", "usr/lib", "lib"):
        path = top / prefix / "systemd/system/rondad.service"
        if path.exists():
            return path
    raise RuntimeError("cmake --install put no unit where systemd looks")


def boot(top, log):
    argv = ["systemd-nspawn", "-q", "-D", top, "--boot", "--private-network", "--register=no",
            "--keep-unit", "--console=pipe", "--machine=ronda-test"]
    with open(log, "wb") as out:
        machine = subprocess.Popen([str(a) for a in argv], stdout=out, stderr=out,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    try:
        # PID 1 inside is told to power off; that it does so is not what is tested.
        while machine.poll() is None and time.monotonic() < deadline:
            if (top / "check/finished").exists():
                break
            time.sleep(0.2)
        try:
            machine.wait(10)
        except subprocess.TimeoutExpired:
            pass
    finally:
        if machine.poll() is None:
            machine.kill()
            machine.wait()


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Boots once; returns a function: name of an answer -> its text."""
    reason = why_not()
    if reason:
        pytest.skip(f"no machine to boot: {reason}")
    build = Path(os.environ.get("BUILD", "build"))
    build = build if build.is_absolute() else ROOT / build
    rootfs = make_rootfs(runtime_packages(build))
    base = tmp_path_factory.mktemp("nspawn")
    log = tmp_path_factory.mktemp("console") / "log"
    try:
        overlay = Overlay(rootfs, base)
    except RuntimeError as error:
        pytest.skip(f"no overlay mounts here: {error}")
    texts = {}
    try:
        install(build, overlay.top)
        boot(overlay.top, log)
        for path in (overlay.top / "check").iterdir():
            texts[path.name] = path.read_text(errors="replace")
    finally:
        overlay.close()
    console = log.read_text(errors="replace")
    if "trace" not in texts:
        # Nothing of ours ran: the sandbox does not let systemd boot.
        pytest.skip(f"systemd-nspawn does not boot here: {console[-500:]}")
    if "finished" not in texts:
        print(console[-4000:], file=sys.stderr)
    for name in ("trace", "journal", "user.journal"):
        print(f"--- {name}\n{texts.get(name, '')[-6000:]}")
    return lambda name: texts.get(name, f"(no answer '{name}')").strip()


def properties(text):
    return dict(line.partition("=")[::2] for line in text.splitlines())


def test_becomes_active_with_no_network(answers):
    assert answers("interfaces") == "lo"
    unit = properties(answers("started"))
    assert (unit["Type"], unit["ActiveState"], unit["SubState"]) == ("notify", "active", "running")
    assert unit["NRestarts"] == "0"


def test_answers(answers):
    assert answers("version.code") == "0", answers("version")
    assert answers("share.code") == "0", answers("share")


def test_directories(answers):
    lines = dict(line.rpartition(" ")[::-2] for line in answers("dirs").splitlines())
    assert lines["/var/lib/ronda"] == "ronda ronda 700"
    assert lines["/run/ronda"] == "ronda ronda 750"
    assert lines["/run/ronda/control.sock"] in ("ronda ronda 660", "ronda ronda 600")
    assert lines["/srv/ronda"] == "ronda ronda 2770"


def test_comes_back_after_a_crash(answers):
    unit = properties(answers("restarted"))
    assert (unit["ActiveState"], unit["NRestarts"]) == ("active", "1")
    assert "hello" in answers("ls")


def test_leaves_cleanly(answers):
    unit = properties(answers("stopped"))
    assert (unit["ActiveState"], unit["Result"], unit["ExecMainStatus"]) == \
        ("inactive", "success", "0"), answers("journal")


def test_user_unit(answers):
    unit = properties(answers("user"))
    assert (unit["ActiveState"], unit["SubState"]) == ("active", "running"), answers("user.journal")
    assert answers("user.share.code") == "0", answers("user.share")
    assert answers("user.state")
    assert properties(answers("user.stopped"))["Result"] == "success"
