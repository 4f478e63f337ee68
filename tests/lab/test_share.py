"""Sharing on a LAN of real daemons: what a user may rely on. Every case compares SHA-256.

No case asserts how long anything takes."""

import os
import signal
import time

import pytest
from party import (MIB, copy_real_files, dest, get, get_all, get_all_without, get_start,
                   get_start_all, leftovers, make_file, peers, rows, share, sha256, transfer, tree,
                   wait_for)

EXIT_FAILED, EXIT_NO_DAEMON, EXIT_NOT_FOUND, EXIT_INTEGRITY, EXIT_NO_SPACE = 1, 3, 4, 5, 6
EXIT_STOPPED = 130
UNSYNCED_BYTES = 64 * MIB  # what a crash may cost (STORE_SYNC_BYTES)
OVERHEAD = 1.08            # Ethernet, IP, TCP, TLS, frames


@pytest.mark.smoke
def test_one_to_one(pair):
    a, b = pair
    path = make_file(a.dir / "image.bin", 20 * MIB + 12345)
    said = share(a, path, [b])
    assert (said["name"], said["bytes"], said["files"]) == ("image.bin", 20 * MIB + 12345, 1)
    doc = get(b, "image.bin").doc
    assert sha256(dest(b) / "image.bin") == sha256(path)
    assert doc["id"] == said["id"] and doc["verified"] is True and doc["bytes"] == said["bytes"]
    assert leftovers(dest(b)) == []
    assert [row["state"] for row in rows(b)] == ["here"]
    assert [row["sources"] for row in rows(b)] == [2]


def test_one_to_ten(make_lan):
    source, *guests = make_lan(11, rate_mbit=100).start_daemons()
    path = make_file(source.dir / "image.bin", 32 * MIB)
    said = share(source, path, guests)
    sent_before = source.counters()[1]
    docs = get_all(guests, said["id"])
    copies = (source.counters()[1] - sent_before) / (32 * MIB)
    want = sha256(path)
    assert [sha256(dest(g) / "image.bin") for g in guests] == [want] * 10
    # Client-server would be 10: the guests must have fed one another.
    assert copies < 2.5, f"the source sent {copies:.2f} copies"
    assert all(doc["verified"] for doc in docs)


def test_folder_of_real_files(make_lan):
    a, b, c = make_lan(3).start_daemons()
    folder = copy_real_files(a.dir / "stuff", 1000)
    said = share(a, folder, [b, c])
    assert said["files"] == 1000
    get_all([b, c], said["id"])
    want = tree(folder)
    assert tree(dest(b) / "stuff") == want
    assert tree(dest(c) / "stuff") == want
    assert leftovers(dest(b)) == [] and leftovers(dest(c)) == []


SIZES = [0, 1, 16383, 16384, 16385, 65535, 65536, 65537, MIB - 1, MIB, MIB + 1, 3 * MIB + 7]
NAMES = ["plain", "with space", "ünïcode ☕", "-dash", "x" * 200, "a'b\"c", "%n%s"]


@pytest.mark.smoke
def test_odd_sizes_and_names(pair):
    a, b = pair
    folder = a.dir / "odd"
    for size in SIZES:
        make_file(folder / "sizes" / str(size), size)
    for name in NAMES:
        make_file(folder / "names" / name, 100, seed=name)
    make_file(folder / "names" / "tab\there", 100)
    (folder / "names" / "plain").chmod(0o755)
    said = share(a, folder, [b])
    assert said["files"] == len(SIZES) + len(NAMES) + 1
    get(b, "odd")
    want = tree(folder)
    # The one change that is made to a name: no control character reaches a terminal from disk.
    want["names/tab_here"] = want.pop("names/tab\there")
    assert tree(dest(b) / "odd") == want
    assert os.access(dest(b) / "odd/names/plain", os.X_OK)


def test_empty_file_alone(pair):
    a, b = pair
    (a.dir / "nada").write_bytes(b"")
    said = share(a, a.dir / "nada", [b])
    doc = get(b, said["id"]).doc
    assert doc["bytes"] == 0 and doc["verified"] is True
    assert (dest(b) / "nada").stat().st_size == 0
    assert leftovers(dest(b)) == []


def test_figures_stay_when_the_share_rests(pair):
    """What the source has sent is counted on, and that it may leave is not forgotten."""
    a, b = pair
    path = make_file(a.dir / "image.bin", 4 * MIB)
    said = share(a, path, [b])
    get(b, said["id"])
    wait_for("the share rests", lambda: transfer(a, said["id"])["peers"] == 0, 60)
    row = transfer(a, said["id"])
    assert row["uploaded_bytes"] >= 4 * MIB and row["may_leave"] is True, row


def test_nobody_may_leave_who_holds_it_alone_again(pair):
    a, b = pair
    path = make_file(a.dir / "image.bin", MIB)
    said = share(a, path, [b])
    get(b, said["id"])
    wait_for("it may leave", lambda: transfer(a, said["id"])["may_leave"])
    b.ronda("unshare", said["id"])
    wait_for("it may not", lambda: not transfer(a, said["id"])["may_leave"], 30)


def test_late_joiner(make_lan):
    lan = make_lan(3, rate_mbit=100)
    for host in lan.hosts[:2]:
        host.start_daemon()
    a, b, late = lan.hosts
    path = make_file(a.dir / "image.bin", 32 * MIB)
    said = share(a, path, [b])
    first = get_start(b, said["id"], 16 * MIB)
    late.start_daemon()
    wait_for("the late one lists it", lambda: any(r["id"] == said["id"] for r in rows(late)))
    get(late, said["id"])
    b.ronda_end(first)
    assert sha256(dest(b) / "image.bin") == sha256(dest(late) / "image.bin") == sha256(path)


def test_source_leaves_after_one_copy(make_lan):
    source, *guests = make_lan(5, rate_mbit=50).start_daemons()
    path = make_file(source.dir / "image.bin", 32 * MIB)
    want = sha256(path)
    said = share(source, path, guests)
    get_all_without(source, guests, said["id"])
    assert [sha256(dest(g) / "image.bin") for g in guests] == [want] * 4


def test_receiver_killed_and_resumed(make_lan):
    a, b = make_lan(2, rate_mbit=200).start_daemons()
    size = 128 * MIB
    path = make_file(a.dir / "image.bin", size)
    said = share(a, path, [b])
    job = get_start(b, said["id"], size * 0.75)
    b.daemon.kill()
    assert b.ronda_end(job, check=False).code != 0
    assert not (dest(b) / "image.bin").exists()
    b.start_daemon()
    wait_for("b lists it again", lambda: any(r["id"] == said["id"] for r in rows(b)))
    get(b, said["id"])
    assert sha256(dest(b) / "image.bin") == sha256(path)
    assert leftovers(dest(b)) == []
    fetched = b.counters()[0]
    assert fetched <= (size + UNSYNCED_BYTES) * OVERHEAD, f"{fetched / MIB:.0f} MiB for {size / MIB:.0f}"


def test_two_shares_of_one_name(make_lan):
    a, b, c = make_lan(3).start_daemons()
    first = make_file(a.dir / "notes.txt", 5000, seed=1)
    second = make_file(b.dir / "notes.txt", 7000, seed=2)
    ids = {share(a, first, [c])["id"]: first, share(b, second, [c])["id"]: second}
    assert len(ids) == 2
    assert {row["id"] for row in rows(c) if row["name"] == "notes.txt"} == set(ids)
    done = get(c, "notes.txt", check=False)
    assert done.code == EXIT_NOT_FOUND, done
    for share_id in ids:
        assert share_id[:8] in done.out + done.err, done
    for number, (share_id, path) in enumerate(ids.items()):
        get(c, share_id, dest(c, f"got{number}"))
        assert sha256(dest(c, f"got{number}") / "notes.txt") == sha256(path)


def test_one_content_under_two_names(make_lan):
    a, b, c = make_lan(3).start_daemons()
    one = make_file(a.dir / "holiday.mp4", 5 * MIB, seed=3)
    make_file(b.dir / "VID_0001.mp4", 5 * MIB, seed=3)
    share(a, one, [])
    share(b, b.dir / "VID_0001.mp4", [])
    wait_for("c sees one row with two sources",
             lambda: [row["sources"] for row in rows(c)] == [2])
    for name in ("holiday.mp4", "VID_0001.mp4"):
        where = dest(c, name + ".d")
        doc = get(c, name, where).doc
        assert sha256(doc["path"]) == sha256(one)


@pytest.mark.smoke
def test_wrong_name(pair):
    a, b = pair
    share(a, make_file(a.dir / "image.bin", 1000), [b])
    done = get(b, "imagine.bin", check=False)
    assert done.code == EXIT_NOT_FOUND, done
    said = done.out + done.err
    assert "imagine.bin" in said and "(asked 1 host)" in said, said


@pytest.mark.smoke
def test_no_daemon(make_lan):
    (host,) = make_lan(1).hosts
    done = host.ronda("ls", check=False)
    assert done.code == EXIT_NO_DAEMON, done
    assert "rondad" in done.out + done.err


def test_no_space(pair):
    a, b = pair
    said = share(a, make_file(a.dir / "image.bin", 32 * MIB), [b])
    small = dest(b, "small")
    b.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small])
    done = get(b, said["id"], small, check=False)
    assert done.code == EXIT_NO_SPACE, done
    assert b.run(["find", small, "-name", "image.bin"]).stdout == ""
    # It is no reason to end: elsewhere there is room.
    get(b, said["id"], dest(b))
    assert sha256(dest(b) / "image.bin") == sha256(a.dir / "image.bin")


def test_link_local_only(make_lan):
    a, b, c = make_lan(3, ipv4=False).start_daemons()
    path = make_file(a.dir / "image.bin", 5 * MIB)
    said = share(a, path, [b, c])
    get_all([b, c], said["id"])
    assert sha256(dest(b) / "image.bin") == sha256(dest(c) / "image.bin") == sha256(path)


def test_five_find_each_other(make_lan):
    lan = make_lan(5)
    lan.start_daemons()
    for host in lan.hosts:
        others = {h.name for h in lan.hosts if h is not host}
        wait_for(f"{host.name} knows the others",
                 lambda h=host, o=others: o <= {p["name"] for p in peers(h)})


def test_seeds_again_after_a_restart(pair):
    a, b = pair
    path = make_file(a.dir / "image.bin", 5 * MIB)
    said = share(a, path, [b])
    assert a.daemon.stop() == 0
    a.start_daemon()
    wait_for("a holds it still", lambda: [r["state"] for r in rows(a)] == ["here"])
    wait_for("b lists it", lambda: any(r["id"] == said["id"] for r in rows(b)))
    get(b, said["id"])
    assert sha256(dest(b) / "image.bin") == sha256(path)


def test_a_receiver_seeds_when_the_source_is_gone(make_lan):
    a, b, c = make_lan(3).start_daemons()
    path = make_file(a.dir / "image.bin", 5 * MIB)
    said = share(a, path, [b, c])
    get(b, said["id"])
    a.daemon.kill()
    get(c, said["id"])
    assert sha256(dest(c) / "image.bin") == sha256(path)


def test_ctrl_c_and_again(make_lan):
    a, b = make_lan(2, rate_mbit=100).start_daemons()
    path = make_file(a.dir / "image.bin", 32 * MIB)
    said = share(a, path, [b])
    job = get_start(b, said["id"], 16 * MIB)
    job.send_signal(signal.SIGINT)
    assert b.ronda_end(job, check=False).code != 0
    assert not (dest(b) / "image.bin").exists()
    get(b, said["id"])
    assert sha256(dest(b) / "image.bin") == sha256(path)
    assert leftovers(dest(b)) == []


def test_ctrl_c_of_one_of_two(make_lan):
    a, b = make_lan(2, rate_mbit=50).start_daemons()
    path = make_file(a.dir / "image.bin", 32 * MIB)
    said = share(a, path, [b])
    one, other = get_start(b, said["id"]), get_start(b, said["id"])
    for job in (one, other):
        assert "progress" in str(job.stdout.readline())
    one.send_signal(signal.SIGINT)
    ended = b.ronda_end(one, check=False)
    assert ended.code == EXIT_STOPPED
    assert "is still being fetched, for another" in ended.err, ended
    other.send_signal(signal.SIGINT)
    ended = b.ronda_end(other, check=False)
    assert "stopped; run the same command again" in ended.err, ended
    assert transfer(b, said["id"])["state"] == "paused"


def test_identical_file_is_skipped(pair):
    a, b = pair
    path = make_file(a.dir / "image.bin", 16 * MIB, seed=4)
    there = make_file(dest(b) / "image.bin", 16 * MIB, seed=4)
    os.utime(there, (10 ** 9, 10 ** 9))
    said = share(a, path, [b])
    before = b.counters()[0]
    doc = get(b, said["id"]).doc
    assert doc["path"] == str(there)
    assert there.stat().st_mtime == 10 ** 9
    assert b.counters()[0] - before < 4 * MIB, "it was fetched again"
    assert [p.name for p in dest(b).iterdir()] == ["image.bin"]


def test_different_file_is_kept(pair):
    a, b = pair
    path = make_file(a.dir / "image.bin", 3 * MIB, seed=5)
    mine = make_file(dest(b) / "image.bin", 3 * MIB, seed=6)
    before = sha256(mine)
    said = share(a, path, [b])
    doc = get(b, said["id"]).doc
    assert sha256(mine) == before
    assert "(2)" in os.path.basename(doc["path"])
    assert sha256(doc["path"]) == sha256(path)


def test_verify_finds_a_flipped_bit(pair):
    a, b = pair
    path = make_file(a.dir / "image.bin", 5 * MIB)
    said = share(a, path, [b])
    get(b, said["id"])
    assert b.ronda("verify", said["id"]).code == 0
    with open(dest(b) / "image.bin", "r+b") as file:
        file.seek(3 * MIB)
        byte = file.read(1)
        file.seek(3 * MIB)
        file.write(bytes([byte[0] ^ 1]))
    done = b.ronda("verify", said["id"], check=False)
    assert done.code == EXIT_INTEGRITY, done


def test_changed_source_never_gives_wrong_bytes(pair):
    a, b = pair
    path = make_file(a.dir / "image.bin", 5 * MIB, seed=7)
    said = share(a, path, [b])
    make_file(path, 5 * MIB, seed=8)
    job = get_start(b, said["id"])
    # It may fail or wait for another source; it must not produce the file.
    time.sleep(5)
    if job.poll() is None:
        job.send_signal(signal.SIGINT)
    assert b.ronda_end(job, check=False).code != 0
    assert not (dest(b) / "image.bin").exists()
    # Shared again as it is now, it can be fetched.
    get(b, share(a, path, [b])["id"])
    assert sha256(dest(b) / "image.bin") == sha256(path)


def test_unshare_keeps_the_file(pair):
    a, b = pair
    path = make_file(a.dir / "image.bin", MIB)
    want = sha256(path)
    share(a, path, [b])
    assert "the files stay" in a.ronda("unshare", "image.bin", use_json=False).out
    wait_for("b lists it no more", lambda: rows(b) == [])
    assert sha256(path) == want


@pytest.mark.parametrize("how", ["running", "paused", "paused_before_a_restart"])
def test_unshare_of_half_a_transfer_leaves_nothing(make_lan, how):
    a, b = make_lan(2, rate_mbit=100).start_daemons()
    said = share(a, make_file(a.dir / "image.bin", 32 * MIB), [b])
    job = get_start(b, said["id"], 8 * MIB)
    assert leftovers(dest(b))
    if how != "running":
        job.send_signal(signal.SIGINT)
        b.ronda_end(job, check=False)
    if how == "paused_before_a_restart":
        assert b.daemon.stop() == 0
        b.start_daemon()
    said = b.ronda("unshare", said["id"], use_json=False)
    assert "what had arrived is being deleted" in said.out
    if how == "running":
        ended = b.ronda_end(job, check=False)
        assert ended.code == 1
        assert "was given up by `ronda unshare`" in ended.out + ended.err
    wait_for("nothing is left", lambda: list(dest(b).iterdir()) == [])


def test_asked_to_leave_twice(make_lan):
    """The second request ends it at once, in the middle of its last sync."""
    a, b = make_lan(2, rate_mbit=100).start_daemons()
    path = make_file(a.dir / "image.bin", 32 * MIB)
    said = share(a, path, [b])
    job = get_start(b, said["id"], 8 * MIB)
    b.daemon.signal(signal.SIGTERM)
    b.daemon.signal(signal.SIGINT)
    assert b.daemon.stop() == 0
    b.ronda_end(job, check=False)
    b.start_daemon()
    get(b, said["id"])
    assert sha256(dest(b) / "image.bin") == sha256(path)


def test_empty_folder_is_called_one(pair):
    a, _ = pair
    (a.dir / "empty").mkdir()
    said = a.ronda("share", a.dir / "empty", check=False)
    assert said.code == EXIT_FAILED and "holds no files" in said.err + said.out, said


def test_split_and_heal(make_lan):
    lan = make_lan(4, rate_mbit=100)
    lan.start_daemons()
    source, near, far = lan.hosts[0], lan.hosts[1], lan.hosts[2:]
    path = make_file(source.dir / "image.bin", 32 * MIB)
    said = share(source, path, lan.hosts[1:])
    jobs = get_start_all(lan.hosts[1:], said["id"])
    wait_for("the far ones have a third", lambda: all(h.counters()[0] > 11 * MIB for h in far))
    lan.split(far)
    near.ronda_end(jobs[0][1])
    lan.heal()
    for host, job in jobs[1:]:
        host.ronda_end(job)
    want = sha256(path)
    assert [sha256(dest(h) / "image.bin") for h in lan.hosts[1:]] == [want] * 3
