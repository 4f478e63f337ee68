"""`ronda` as a user meets it in a shell: exit codes, what goes to stdout, what a terminal gets."""

import json
import os
import pty
import select
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import lan as lab  # noqa: E402
from party import MIB, make_file, sha256, wait_for  # noqa: E402

DONE, FAILED, USAGE, NO_DAEMON, NOT_FOUND, INTEGRITY, NO_SPACE = range(7)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\r\nID \x9b5n\u202egpj.exe"
ESCAPES_OF_OURS = (b"\x1b[K", b"\x1b[1m", b"\x1b[0m", b"\x1b[31m", b"\x1b[32m", b"\x1b[33m")


def fail(host, *args, **options):
    return host.ronda(*args, check=False, **options)


def plain(host, *args, **options):
    return host.ronda(*args, use_json=False, check=False, **options)


def read_all(fd, deadline):
    """What a terminal shows until the other side is closed."""
    seen = b""
    while True:
        if not select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
            raise AssertionError(f"no end: {seen[-2000:]!r}")
        try:
            block = os.read(fd, 65536)
        except OSError:  # EIO: nobody has it open any more
            return seen
        if not block:
            return seen
        seen += block


def on_terminal(host, *args, out=True, env=None, columns=100, use_json=False):
    """ronda with stderr (and stdout) on a terminal -> (exit code, what it shows, stdout)."""
    ours, theirs = pty.openpty()
    full = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(env or {})}
    if "NO_COLOR" not in full:
        full = {"NO_COLOR": "", **full}
    os.set_blocking(ours, True)
    subprocess.run(["stty", "cols", str(columns), "rows", "24"], stdin=theirs, check=True)
    job = host.popen(host._ronda_argv([str(a) for a in args], use_json), env=full,
                     stdin=theirs, stderr=theirs, stdout=theirs if out else subprocess.PIPE)
    os.close(theirs)
    try:
        shown = read_all(ours, time.monotonic() + 120)
        stdout = b"" if out else job.stdout.read()
        return job.wait(60), shown, stdout
    finally:
        os.close(ours)
        if job.stdout:
            job.stdout.close()


def strip_ours(shown):
    for sequence in ESCAPES_OF_OURS:
        shown = shown.replace(sequence, b"")
    return shown


def assert_harmless(shown):
    """No control character but line ends, no C1, no override of the direction of writing."""
    text = strip_ours(shown).decode()
    bad = {c for c in text if (ord(c) < 32 and c not in "\r\n") or 0x7f <= ord(c) < 0xa0
           or 0x202a <= ord(c) <= 0x202e or 0x2066 <= ord(c) <= 0x2069}
    assert not bad, f"{bad} in {shown!r}"


# --- exit codes ---


def test_done(home):
    assert plain(home, "ls").code == DONE
    assert plain(home, "status").code == DONE
    assert plain(home, "peers").code == DONE
    assert plain(home, "version").code == DONE


@pytest.mark.parametrize("args", [
    (), ("nonsense",), ("ls", "--nonsense"), ("get",), ("get", "a", "b"), ("share",),
    ("share", ""), ("unshare",), ("verify",), ("ls", "more"), ("ls", "-o", "/tmp"),
    ("get", "x", "--name", "y"), ("share", "/etc/hostname", "/etc/hosts", "--name", "one"),
    ("get", "x", "-o"), ("--socket",), ("--json=yes", "ls")])
def test_wrong_usage(home, args):
    done = plain(home, *args)
    assert done.code == USAGE, done
    assert done.out == "" and done.err.strip(), done


def test_no_daemon(home, tmp_path):
    missing = tmp_path / "none.sock"
    for args in (["ls"], ["status"], ["share", "/etc/hostname"], ["get", "x"], ["watch"]):
        done = home.run([lab.binary("ronda"), "--socket", missing, *args], check=False)
        assert done.returncode == NO_DAEMON, done
        assert "rondad" in done.stderr and str(missing) in done.stderr
    # RONDA_SOCKET says the same; --socket wins over it.
    env = {"RONDA_SOCKET": str(missing)}
    assert home.run([lab.binary("ronda"), "ls"], check=False, env=env).returncode == NO_DAEMON
    assert plain(home, "ls", env=env).code == DONE
    env = {"RONDA_SOCKET": str(home.daemon.socket)}
    assert home.run([lab.binary("ronda"), "ls"], env=env).returncode == DONE
    # What needs no daemon works without one.
    for args in (["help"], ["--help"], ["get", "--help"], ["version"], ["--version"]):
        assert home.run([lab.binary("ronda"), "--socket", missing, *args]).stdout


def test_help_offers_what_the_command_takes(home):
    for name in ("torrent", "help"):
        assert "--json" not in home.run([lab.binary("ronda"), name, "--help"]).stdout
        assert "--json" in plain(home, "--json", name, "x").err
    assert "--json" in home.run([lab.binary("ronda"), "ls", "--help"]).stdout


def test_not_found(home):
    for args in (("get", "nothing", "-o", home.dir), ("verify", "nothing"),
                 ("unshare", "nothing"), ("torrent", "nothing")):
        done = plain(home, *args)
        assert done.code == NOT_FOUND, done
        assert "nothing" in done.err and done.out == ""


def test_share_of_a_missing_path(home):
    done = plain(home, "share", home.dir / "absent")
    assert done.code == NOT_FOUND, done
    assert "absent" in done.err and "No such file" in done.err and done.out == ""
    link = home.dir / "dangling"
    link.symlink_to("absent")
    assert plain(home, "share", link).code == NOT_FOUND


def test_get_into_a_missing_directory(home):
    done = plain(home, "get", "x", "-o", home.dir / "absent")
    assert done.code == FAILED, done
    assert "mkdir" in done.err
    done = plain(home, "get", "x", "-o", "/etc/hostname")
    assert done.code == FAILED and "directory" in done.err, done


def test_verify_after_a_flipped_byte(home):
    path = make_file(home.dir / "flip.bin", MIB)
    home.ronda("share", path)
    assert home.ronda("verify", "flip.bin").doc["bad_chunks"] == 0
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(500000)
        byte = file.read(1)[0]
        file.seek(500000)
        file.write(bytes([byte ^ 0x20]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = fail(home, "verify", "flip.bin")
    assert done.code == INTEGRITY, done
    assert (done.doc["bad_chunks"], done.doc["first_bad"]) == (1, "flip.bin")
    done = plain(home, "verify", "flip.bin")
    assert done.code == INTEGRITY and "1 bad chunk" in done.out + done.err, done


def test_no_space(pair):
    left, right = pair.hosts
    said = left.ronda("share", make_file(left.dir / "big.bin", 24 * MIB, seed="big")).doc
    wait_listed(right, said["id"])
    small = right.dir / "small"
    small.mkdir()
    right.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small])
    done = plain(right, "get", said["id"], "-o", small)
    assert done.code == NO_SPACE, done
    assert "space" in done.err


def wait_listed(host, share_id):
    """Give every share bytes of its own: the same content is one row, under one id."""
    wait_for(f"{host.name} lists it",
             lambda: any(row["id"] == share_id for row in host.ronda("ls").doc))


def test_full_stdout(home):
    with open("/dev/full", "wb") as full:
        job = home.ronda_start("status", use_json=False, stdout=full)
        _, said = job.communicate(timeout=60)
    assert job.returncode == FAILED and "standard output" in said


# --- --json ---


def test_json_is_one_document(home):
    path = make_file(home.dir / "doc.bin", 3 * MIB)
    calls = [("share", path), ("ls",), ("status",), ("peers",), ("verify", "doc.bin"),
             ("version",), ("unshare", "doc.bin")]
    for args in calls:
        done = home.ronda(*args)
        assert done.out.endswith("\n") and done.out.count("\n") == 1, done
        json.loads(done.out)
        assert done.err == "", done


@pytest.mark.parametrize("args, code", [
    (("get", "nothing"), NOT_FOUND), (("verify", "nothing"), NOT_FOUND),
    (("unshare", "nothing"), NOT_FOUND), (("share", "/no/such"), NOT_FOUND),
    (("nonsense",), USAGE), (("get",), USAGE)])
def test_json_of_a_failure(home, args, code):
    done = fail(home, *args)
    assert done.code == code, done
    doc = json.loads(done.out)
    assert set(doc) == {"error", "code"} and doc["code"] == code and doc["error"]


def test_json_keys(home):
    said = home.ronda("share", make_file(home.dir / "keys.bin", 1000)).doc
    assert {"id", "name", "bytes", "files", "chunks", "seconds"} <= set(said)
    (row,) = [row for row in home.ronda("ls").doc if row["id"] == said["id"]]
    assert {"id", "name", "bytes", "files", "sources", "state"} <= set(row)


def test_peers_tell_where_the_others_listen(pair):
    """Whoever dialled: that is the port for a firewall."""
    def connected(host):
        return [peer for peer in host.ronda("peers").doc if peer["state"] == "connected"]
    left, right = pair.hosts
    for host, other in ((left, right), (right, left)):
        wait_for("they are connected", lambda h=host: connected(h))
        listens = other.ronda("status").doc["node"]["port"]
        assert [peer["port"] for peer in connected(host)] == [listens]


def test_json_of_get(pair):
    left, right = pair.hosts
    said = left.ronda("share", make_file(left.dir / "lines.bin", MIB, seed="lines")).doc
    wait_listed(right, said["id"])
    (right.dir / "lines").mkdir()
    done = right.ronda("get", "lines.bin", "-o", right.dir / "lines")
    docs = [json.loads(line) for line in done.out.splitlines()]
    assert all(doc["event"] == "progress" for doc in docs[:-1])
    assert {"id", "name", "bytes", "seconds", "peers", "bytes_from_source", "duplicates_bytes",
            "verified"} <= set(docs[-1])
    assert docs[-1]["verified"] is True and "event" not in docs[-1]
    assert done.err == ""


def test_watch_is_a_document_a_line(home):
    job = home.ronda_start("watch")
    for _ in range(2):
        assert {"node", "transfers"} <= set(json.loads(job.stdout.readline()))
    job.send_signal(2)
    assert home.ronda_end(job).code == DONE


# --- sharing ---


def test_share_prints_id_name_size(home):
    path = make_file(home.dir / "line.bin", 2 * MIB)
    said = plain(home, "share", path)
    share_id, name, size = said.out.rstrip("\n").split("  ")
    assert len(bytes.fromhex(share_id)) == 32
    assert (name, size) == ("line.bin", "2.0 MiB") and said.err == ""


def test_share_of_two_paths(home):
    paths = [make_file(home.dir / f"two{n}.bin", 1000 + n) for n in range(2)]
    said = plain(home, "share", *paths)
    assert said.code == DONE
    assert [line.split("  ")[1] for line in said.out.splitlines()] == ["two0.bin", "two1.bin"]
    # One that is missing does not keep the other from being shared.
    home.ronda("unshare", "two1.bin")
    said = plain(home, "share", home.dir / "absent", paths[1])
    assert said.code == NOT_FOUND
    assert said.out.split("  ")[1] == "two1.bin" and "absent" in said.err


def test_share_with_a_name(home):
    path = make_file(home.dir / "boring.bin", 5000)
    said = home.ronda("share", path, "--name", "Debian 12 ☕").doc
    assert said["name"] == "Debian 12 ☕"
    assert "Debian 12 ☕" in plain(home, "ls").out
    for name in ("a/b", "..", "x" * 256):
        done = plain(home, "share", path, "--name", name)
        assert done.code == USAGE, done
        assert "name" in done.err


def test_share_of_the_current_directory(home):
    folder = home.dir / "here"
    make_file(folder / "file", 100)
    for typed in (".", "./", "../here", "file/.."):
        job = home.popen(["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", folder,
                          *home._ronda_argv(["share", typed], True)], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
        done = home.ronda_end(job, check=False)
        if typed == "file/..":
            assert done.code != DONE
        else:
            assert done.doc["name"] == "here", typed


@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
def test_share_of_neither_a_file_nor_a_folder(home, kind):
    path = home.dir / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path = Path("/dev/null")
    done = plain(home, "share", path)
    assert done.code == USAGE and f"{path}: neither a file nor a folder" in done.err, done


def test_share_says_what_is_wrong_with_a_name(home):
    path = make_file(home.dir / "named.bin", 1000)
    done = plain(home, "share", path, "--name", "a/b")
    assert done.code == USAGE and f"{path}: a name has 1 to 255 bytes" in done.err, done
    done = plain(home, "share", "/")
    assert done.code == USAGE and "cannot share /: a name has" in done.err, done


def test_share_of_a_file_that_is_being_written(home):
    path = make_file(home.dir / "growing.bin", 64 * MIB)
    writer = subprocess.Popen(["sh", "-c", 'while :; do echo >>"$0"; done', path])
    try:
        wait_for("it is being written", lambda: path.stat().st_size > 64 * MIB)
        done = plain(home, "share", path)
    finally:
        writer.kill()
        writer.wait()
    assert done.code == INTEGRITY and f"{path}: it changes while it is read" in done.err, done


def test_a_share_that_changes_its_name_says_so(home):
    path = make_file(home.dir / "huge.bin", 1000, seed=22)
    (home.dir / "alias").symlink_to(path)
    assert plain(home, "share", path).err == ""
    said = plain(home, "share", home.dir / "alias")
    assert said.code == DONE and said.out.split()[1] == "alias"
    assert "was shared as huge.bin" in said.err
    assert plain(home, "share", home.dir / "alias").err == ""
    assert home.ronda("share", path).doc["was"] == "alias"


def test_links_in_a_folder_are_left_out(home):
    folder = home.dir / "linked"
    make_file(folder / "real", 100)
    (folder / "passwd").symlink_to("/etc/passwd")
    said = plain(home, "share", folder)
    assert said.code == DONE and "left out 1 thing (links, " in said.err
    assert home.ronda("share", folder).doc["skipped"] == 1


def test_unshare_never_deletes(home):
    folder = home.dir / "kept"
    for name in ("a", "b/c"):
        make_file(folder / name, 1000, seed=name)
    before = {p: sha256(p) for p in folder.rglob("*") if p.is_file()}
    home.ronda("share", folder)
    said = plain(home, "unshare", "kept")
    assert said.code == DONE and "no longer shared" in said.out
    assert {p: sha256(p) for p in folder.rglob("*") if p.is_file()} == before
    assert plain(home, "unshare", "kept").code == NOT_FOUND
    assert "kept" not in [row["name"] for row in home.ronda("ls").doc]


def test_unshare_of_what_was_fetched(pair):
    left, right = pair.hosts
    said = left.ronda("share", make_file(left.dir / "fetched.bin", MIB, seed="fetched")).doc
    wait_listed(right, said["id"])
    (right.dir / "mine").mkdir()
    right.ronda("get", said["id"], "-o", right.dir / "mine")
    right.ronda("unshare", said["id"])
    assert sha256(right.dir / "mine" / "fetched.bin") == sha256(left.dir / "fetched.bin")


def test_a_whole_id_is_an_id(home):
    """Whoever calls a share like the id of another does not get its place."""
    real = home.ronda("share", make_file(home.dir / "real.bin", 1000, seed="r")).doc
    fake = home.ronda("share", make_file(home.dir / "fake.bin", 1000, seed="f"), "--name",
                      real["id"]).doc
    assert home.ronda("verify", real["id"]).doc["id"] == real["id"]
    assert home.ronda("unshare", real["id"]).doc["id"] == real["id"]
    home.ronda("unshare", fake["id"])


# --- names and ids ---


@pytest.mark.parametrize("name", [
    "two words", "it's", 'say "hi"', "$HOME", "`id`", "a;b", "back\\slash", "*", "-rf", "--json",
    "#1", "~", "ünï ☕", " lead and trail ", "100%", "a&b=c", "?what=x", "+", "%2e%2e"])
def test_names_that_need_quoting(pair, name):
    """Through a shell, quoted as one would, all the way to the other host and back."""
    left, right = pair.hosts
    folder, into = left.dir / "quoted", right.dir / "unquoted"
    into.mkdir(exist_ok=True)
    path = make_file(folder / name, 2000, seed=name)

    def shell(host, cwd, *args):
        prefix = " ".join(shlex.quote(str(a)) for a in host._ronda_argv([], True))
        script = f"cd {shlex.quote(str(cwd))} && {prefix} {' '.join(args)}"
        return json.loads(host.run(["sh", "-c", script]).stdout.splitlines()[-1])

    said = shell(left, folder, "share", "--", shlex.quote(name))
    assert said["name"] == name
    wait_listed(right, said["id"])
    got = shell(right, into, "get", "--", shlex.quote(name))
    assert got["id"] == said["id"] and got["verified"] is True
    assert sha256(into / name) == sha256(path)
    assert shell(right, into, "verify", "--", shlex.quote(name))["bad_chunks"] == 0
    for host in (left, right):
        assert shell(host, into, "unshare", "--", shlex.quote(name))["name"] == name


def test_get_by_id_prefix(pair):
    left, right = pair.hosts
    said = left.ronda("share", make_file(left.dir / "prefix.bin", MIB, seed="prefix")).doc
    wait_listed(right, said["id"])
    into = right.dir / "by-id"
    for number, what in enumerate((said["id"][:4], said["id"][:12].upper(), said["id"][:13])):
        (into / str(number)).mkdir(parents=True)
        done = right.ronda("get", what, "-o", into / str(number))
        assert done.doc["id"] == said["id"]
        assert sha256(into / str(number) / "prefix.bin") == sha256(left.dir / "prefix.bin")
    assert fail(right, "get", said["id"][:3], "-o", into).code == NOT_FOUND


@pytest.mark.parametrize("typed, meant", [
    ("shar", "share"), ("sahre", "share"), ("stats", "status"), ("gt", "get"), ("lss", "ls"),
    ("verfy", "verify"), ("list", "ls"), ("download", "get"), ("unsahre", "unshare")])
def test_typo_of_a_command(home, typed, meant):
    done = plain(home, typed)
    assert done.code == USAGE and f"did you mean `{meant}`?" in done.err, done


def test_typo_of_a_share(pair):
    left, right = pair.hosts
    said = left.ronda("share", make_file(left.dir / "holidays.tar", 1000, seed="holidays")).doc
    wait_listed(right, said["id"])
    done = plain(right, "get", "hollidays.tar", "-o", right.dir)
    assert done.code == NOT_FOUND and 'did you mean "holidays.tar"?' in done.err, done


def test_get_as_a_shell_completes_it(pair):
    left, right = pair.hosts
    said = left.ronda("share", make_file(left.dir / "slashed.bin", 1000, seed="slashed")).doc
    wait_listed(right, said["id"])
    assert plain(right, "get", "slashed.bin/", "-o", right.dir).code == DONE
    done = plain(right, "get", "abc", "-o", right.dir)
    assert done.code == NOT_FOUND and "at least 4 digits" in done.err, done
    right.ronda("unshare", said["id"])


# --- the terminal ---


def test_progress_only_on_a_terminal(pair):
    left, right = pair.hosts
    said = left.ronda("share", make_file(left.dir / "slow.bin", 4 * MIB, seed="slow")).doc
    wait_listed(right, said["id"])
    for host in pair.hosts:
        host.set_rate(20)
    try:
        for number, out in enumerate((False, True)):
            into = right.dir / f"slow{number}"
            into.mkdir()
            code, shown, stdout = on_terminal(right, "get", said["id"], "-o", into, out=out)
            assert code == DONE
            assert b"slow.bin" in shown and b"%" in shown and b"\r" in shown
            assert b"/4.0 MiB" in shown and b"\x1b[K" in shown
            assert_harmless(shown)
            final = stdout or shown.replace(b"\r\n", b"\n").split(b"\x1b[K")[-1]
            assert final.count(b"\n") == 1 and str(into).encode() in final, final
            right.ronda("unshare", said["id"])
        # Piped: nothing but the result; with --json the terminal stays clean, too.
        (right.dir / "piped").mkdir()
        done = plain(right, "get", said["id"], "-o", right.dir / "piped")
        assert done.code == DONE and done.err == ""
        assert done.out.count("\n") == 1 and "\x1b" not in done.out + done.err
        right.ronda("unshare", said["id"])
        (right.dir / "json").mkdir()
        code, shown, stdout = on_terminal(right, "get", said["id"], "-o", right.dir / "json",
                                          out=False, use_json=True)
        assert code == DONE and shown == b""
        assert all(json.loads(line) for line in stdout.splitlines())
    finally:
        for host in pair.hosts:
            host.set_rate(None)


def test_colour_and_no_colour(home):
    home.ronda("share", make_file(home.dir / "colour.bin", 1000))
    _, shown, _ = on_terminal(home, "ls")
    assert b"\x1b[" in shown and b"colour.bin" in shown
    for env in ({"NO_COLOR": "1"}, {"NO_COLOR": "no"}, {"TERM": "dumb"}):
        _, shown, _ = on_terminal(home, "ls", env=env)
        assert b"\x1b" not in shown and b"colour.bin" in shown, env
    assert "\x1b" not in plain(home, "ls", env={"TERM": "xterm"}).out


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_tables_fit_the_terminal(home, columns):
    home.ronda("share", make_file(home.dir / ("long name " * 12).strip(), 1000, seed="long"))
    _, shown, _ = on_terminal(home, "ls", columns=columns, env={"NO_COLOR": "1"})
    lines = shown.decode().split("\r\n")
    rows = [line for line in lines if "lon" in line]  # "long" where there is room for it
    assert rows, shown
    if columns >= 80:
        assert all(len(line) <= columns for line in rows), rows


def test_torrent_is_not_for_a_terminal(home):
    home.ronda("share", make_file(home.dir / "binary.bin", 1000))
    code, shown, _ = on_terminal(home, "torrent", "binary.bin")
    assert code == USAGE and b"announce" not in shown and b"6:pieces" not in shown
    assert_harmless(shown)


def test_hostile_names_reach_no_terminal(pair):
    """A name made to write to the terminal: listed, fetched, verified, mistaken, damaged."""
    left, right = pair.hosts
    folder = left.dir / "hostile"
    make_file(folder / HOSTILE.replace("/", "") / HOSTILE.replace("/", ""), 3000)
    said = left.ronda("share", folder, "--name", HOSTILE).doc
    assert said["name"] == HOSTILE
    wait_listed(right, said["id"])
    into = right.dir / "harmless"
    into.mkdir()
    (right.dir / HOSTILE).mkdir()
    calls = [
        (DONE, "ls"), (DONE, "status"), (DONE, "peers"),
        (DONE, "get", said["id"], "-o", into), (DONE, "get", HOSTILE, "-o", right.dir / HOSTILE),
        (DONE, "ls"), (DONE, "status"), (DONE, "verify", HOSTILE),
        (NOT_FOUND, "get", HOSTILE + "!", "-o", into), (NOT_FOUND, "verify", HOSTILE + "!"),
        (NOT_FOUND, "share", HOSTILE), (FAILED, "get", "x", "-o", HOSTILE),
        (USAGE, HOSTILE), (USAGE, "ls", HOSTILE), (USAGE, "--" + HOSTILE),
        (DONE, "unshare", HOSTILE)]
    for want, *args in calls:
        for use_json in (False, True):
            if args[0] in ("unshare",) and use_json:
                continue
            code, shown, _ = on_terminal(right, *args, use_json=use_json)
            assert code == want, (args, shown)
            assert_harmless(shown)
            assert b"owned" in shown or args[0] in ("peers", "status", "get"), args
    # Nor does a pipe to a pager get it.
    for args in (("ls",), ("status",), ("verify", said["id"])):
        done = plain(left, *args)
        assert_harmless((done.out + done.err).encode())
    bad = next(p for p in folder.rglob("*") if p.is_file())
    bad.write_bytes(b"x" * 3000)
    code, shown, _ = on_terminal(left, "verify", said["id"])
    assert code == INTEGRITY
    assert_harmless(shown)
    # What was written to disk has no control characters in its name.
    for path in into.rglob("*"):
        assert path.name.isprintable(), path


def test_watch_on_a_terminal(home):
    """As `script` records it: drawn over and over, left by Ctrl-C with 0."""
    log = home.dir / "typescript"
    argv = home._ronda_argv(["watch"], False)
    # exec: some shells stay in between, and would die of the Ctrl-C themselves
    command = "exec " + " ".join(shlex.quote(str(a)) for a in argv)
    job = home.popen(["script", "-qefc", command, log], stdin=subprocess.PIPE,
                     stdout=subprocess.DEVNULL, env={"TERM": "xterm"})
    wait_for("it is drawn again", lambda: log.exists() and log.read_bytes().count(b"\x1b[J") >= 2)
    job.stdin.write(b"\x03")
    job.stdin.flush()
    assert job.wait(60) == DONE
    job.stdin.close()
    assert home.name.encode() in log.read_bytes()
