"""The units as systemd's own tools see them: correct, and as closed as promised."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXPOSURE_MAX = {"system": 1.5, "user": 4.0}
UNITS = {"system": ROOT / "systemd/rondad.service", "user": ROOT / "systemd/user/rondad.service"}

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"),
                                reason="no systemd-analyze: the units are not checked")


@pytest.fixture(params=["system", "user"])
def unit(request, tmp_path):
    """(scope, path of the unit with a bindir filled in, environment)"""
    bindir = tmp_path / "bin"
    bindir.mkdir()
    (bindir / "rondad").write_text("#!/bin/sh\n")
    (bindir / "rondad").chmod(0o755)
    path = tmp_path / "rondad.service"
    text = UNITS[request.param].read_text()
    path.write_text(text.replace("@CMAKE_INSTALL_FULL_BINDIR@", str(bindir)))
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    return request.param, path, {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}


def analyze(scope, env, *args):
    return subprocess.run(["systemd-analyze", f"--{scope}", *args], capture_output=True, text=True,
                          env=env, check=False, timeout=60)


def test_verify_finds_nothing(unit):
    scope, path, env = unit
    done = analyze(scope, env, "--man=no", "verify", str(path))
    # It loads what the unit pulls in as well: only what is said of ours counts.
    assert [line for line in (done.stdout + done.stderr).splitlines() if "rondad" in line] == []


def test_exposure(unit):
    scope, path, env = unit
    done = analyze(scope, env, "security", "--offline=true", str(path))
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX[scope], done.stdout


def test_starts_without_a_network():
    for path in UNITS.values():
        text = path.read_text()
        assert "network-online" not in text
        assert re.search(r"^RestrictAddressFamilies=.*AF_NETLINK", text, re.M)
        assert re.search(r"^Type=notify$", text, re.M)


def test_user_unit_may_write_to_home():
    assert not re.search(r"^(ProtectHome|PrivateTmp|ProtectSystem=strict)", UNITS["user"].read_text(),
                         re.M)
