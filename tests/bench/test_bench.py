"""What the benchmarks conclude from figures, and how they are called. Measures nothing."""

import io
import json
import socket
import subprocess
import time

import pytest

import bench
import goals
import report
import rivals
from lan import binary
from results import Results

OURS, PIPE = goals.OURS, goals.PIPE
SIZE = 1 << 20


def goal(case):
    return next(g for g in goals.GOALS if g.case == case)


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "bench.json")


def add(results, case, *seconds, system=OURS, receivers=1):
    """None: stopped; a text: the error."""
    for s in seconds:
        figures = {"error": s} if isinstance(s, str) else {"seconds": s, "ratio": s}
        results.add(case, system, receivers, **figures)


def test_a_failed_run_with_one_crowd_fails_the_whole_goal(results):
    add(results, "flat", 1.0, 1.0, 1.0, receivers=1)
    add(results, "flat", None, 1.01, None, receivers=24)
    assert goal("flat").verdict(results) == "failed"


@pytest.mark.parametrize("ours", [(1.0, None, 1.0), (1.0, "broke down", 1.0)])
def test_a_failed_run_is_not_left_out_of_a_comparison(results, ours):
    add(results, "single", *ours)
    add(results, "single", 1.0, 1.0, 1.0, system=PIPE)
    assert goal("single").verdict(results) == "failed"


def test_without_a_yardstick_nothing_is_decided(results):
    add(results, "single", 1.0, 1.0, 1.0)
    assert goal("single").verdict(results) == "not measured"


@pytest.mark.parametrize("runs, verdict", [
    (0, "not measured"), (1, "reached once"), (2, "reached twice"), (3, "reached")])
def test_few_runs_are_called_few(results, runs, verdict):
    add(results, "flat", *[1.0] * 5, receivers=1 if runs else 0, system=OURS if runs else PIPE)
    add(results, "flat", *[1.0] * runs, receivers=24)
    assert goal("flat").verdict(results) == verdict
    assert goal("flat").runs(results) == runs


def test_the_table_of_goals_tells_the_runs(results):
    add(results, "medium", 1.3, 1.3)
    row = next(line for line in report.goals_table(results).splitlines() if "16 MiB" in line)
    assert row.split(" | ")[3:5] == ["reached twice", "2"]


@pytest.mark.parametrize("argv, says", [
    (["report", "medium"], "`report` stands alone"),
    (["medium", "report"], "`report` stands alone"),
    (["--repeat", "0"], "0: at least 1"),
    (["--rival-repeat", "0"], "0: at least 1"),
    (["--rivals", "ronda", "swarm"], "no rival is called swarm: name cases before --rivals"),
    (["--rivals", "rondo"], "no rival is called rondo"),
    (["swarn"], "no case is called swarn"),
])
def test_what_is_called_wrongly_is_said(argv, says, capsys):
    with pytest.raises(SystemExit) as end:
        bench.parse(argv)
    assert end.value.code == 2
    assert says in capsys.readouterr().err


def test_a_build_that_fails_shows_its_output():
    with pytest.raises(SystemExit, match="no such target"):
        bench.quietly("sh", "-c", "echo no such target; exit 1")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def pipe_serve(size):
    port = free_port()
    server = subprocess.Popen([binary("tests/tls-pipe"), "serve", port, str(size)],
                              stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    return server, port


def pipe_fetch(port, *out):
    return subprocess.Popen([binary("tests/tls-pipe"), "fetch", "127.0.0.1", port, *out],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_yardstick_tells_the_bytes():
    server, port = pipe_serve(SIZE)
    client = pipe_fetch(port)
    assert json.loads(client.communicate()[0])["bytes"] == SIZE
    assert (client.returncode, server.wait()) == (0, 0)
    server.stdout.close()


def test_a_broken_yardstick_is_no_figure(tmp_path):
    server, port = pipe_serve(1 << 50)
    out = tmp_path / "out"
    client = pipe_fetch(port, out)
    while client.poll() is None and not (out.exists() and out.stat().st_size):
        time.sleep(0.001)
    server.kill()
    assert client.communicate()[0] == b""
    assert client.returncode == 1
    server.communicate()


class ShortClient:
    def __init__(self):
        self.stdout = io.StringIO(json.dumps({"bytes": SIZE - 1, "seconds": 1.0}))

    def poll(self):
        return 0


def test_a_yardstick_of_too_few_bytes_is_no_figure(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    pipe = rivals.Pipe(None, [None], path)
    pipe.client = ShortClient()
    pipe.gates = [pipe.client]
    with pytest.raises(rivals.RivalError):
        pipe.wait(1)
