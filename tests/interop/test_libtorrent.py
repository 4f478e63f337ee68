"""Shares are BitTorrent v2 torrents: libtorrent computes the same ids, loads what `ronda
torrent` writes, and finds the shared data complete."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
from party import MIB, make_file  # noqa: E402

lt = pytest.importorskip("libtorrent")

PYTHON = "/usr/bin/python3"
CHECKER = Path(__file__).resolve().parent / "libtorrent_check.py"
LEAF = 16 * 1024
SMALL_PIECE = 128 * 1024  # of every share below 64 MiB
SIZES = [1, LEAF - 1, LEAF, LEAF + 1, 2 * LEAF, 2 * LEAF + 1, 3 * LEAF,
         SMALL_PIECE - 1, SMALL_PIECE, SMALL_PIECE + 1, SMALL_PIECE + LEAF,
         2 * SMALL_PIECE - 1, 2 * SMALL_PIECE, 2 * SMALL_PIECE + 1,
         3 * SMALL_PIECE, 5 * SMALL_PIECE + 12345, 8 * SMALL_PIECE]
SCRIPTS = ["mañana", "Übermaß", "журнал", "日本語の歌", "한국어", "ελληνικά", "עברית", "العربية",
           "हिन्दी", "ไทย", "𝔘𝔫𝔦", "☕🎶", "e\u0301 and \u00e9"]


def expected_id(path, piece_bytes):
    """What libtorrent's own create_torrent computes for a file or folder."""
    files = lt.file_storage()
    lt.add_files(files, str(path))
    made = lt.create_torrent(files, piece_bytes, lt.create_torrent.v2_only)
    lt.set_piece_hashes(made, str(path.parent))
    return hashlib.sha256(lt.bencode(made.generate()[b"info"])).hexdigest()


def write_torrent(host, what, into):
    """`ronda torrent WHAT > into`, as the manual has it."""
    with open(into, "wb") as out:
        job = host.ronda_start("torrent", what, use_json=False, stdout=out,
                               stderr=subprocess.PIPE)
        _, said = job.communicate(timeout=60)
    assert job.returncode == 0, said
    return into


def checked(host, torrent, save_path):
    done = host.run([PYTHON, CHECKER, torrent, save_path], timeout_s=180)
    return json.loads(done.stdout)


def share_and_compare(host, path):
    """The id that ronda printed, libtorrent's, and that of the .torrent are one."""
    said = host.ronda("share", path).doc
    torrent = write_torrent(host, said["id"], host.dir / f"{said['id'][:16]}.torrent")
    seen = checked(host, torrent, path.parent)
    assert seen["v2"] == said["id"], "the .torrent is of something else"
    assert not seen["v1"]
    assert seen["name"] == path.name
    assert expected_id(path, seen["piece_bytes"]) == said["id"]
    assert seen["error"] is None and seen["complete"], seen
    assert seen["done_bytes"] == seen["wanted_bytes"] == said["bytes"]
    host.ronda("unshare", said["id"])
    return seen


@pytest.mark.parametrize("size", SIZES)
def test_single_file(home, size):
    seen = share_and_compare(home, make_file(home.dir / "single" / f"{size}.bin", size))
    assert seen["piece_bytes"] == SMALL_PIECE
    assert list(seen["files"].values()) == [size]


def test_larger_pieces(home):
    # Above 256 MiB pieces are 256 KiB.
    path = make_file(home.dir / "large" / "image.bin", 256 * MIB + 1)
    assert share_and_compare(home, path)["piece_bytes"] == 256 * 1024
    path.unlink()


def test_all_sizes_in_a_folder(home):
    folder = home.dir / "sizes"
    for size in SIZES:
        make_file(folder / str(size), size)
    seen = share_and_compare(home, folder)
    assert seen["files"] == {f"sizes/{size}": size for size in SIZES}


def test_nested_folder(home):
    folder = home.dir / "nested"
    # A folder sorts by its own name, not by the path: "a" < "a b" < "a-b" < "a.txt".
    # No two names that differ in case alone: libtorrent looks for the second as "name.1".
    names = ["a/b/c/deep.bin", "a/b/c.txt", "a/b-c", "a-b", "a.txt", "a b", "Z", "b/1", "b/10",
             "b/2", "y/same", "x/same"]
    for name in names:
        make_file(folder / name, 1000 + len(name), seed=name)
    make_file(folder / "a/b/long.bin", 3 * SMALL_PIECE + 5)
    make_file(folder / "0/exactly", SMALL_PIECE)
    seen = share_and_compare(home, folder)
    assert len(seen["files"]) == len(names) + 2


def test_empty_and_tiny_files(home):
    folder = home.dir / "tiny"
    for name in ("empty", "in/empty", "in/deep/empty"):
        make_file(folder / name, 0)
    for name in ("one", "in/one"):
        make_file(folder / name, 1, seed=name)
    seen = share_and_compare(home, folder)
    assert sorted(seen["files"].values()) == [0, 0, 0, 1, 1]


def test_folder_of_one_file(home):
    """libtorrent 2.0.8 looks for such a folder's file outside of it, also with a .torrent of its
    own making; the id is right all the same."""
    folder = home.dir / "lonely"
    make_file(folder / "song.mp3", 2 * SMALL_PIECE)
    said = home.ronda("share", folder).doc
    seen = checked(home, write_torrent(home, "lonely", home.dir / "lonely.torrent"), folder)
    assert seen["v2"] == said["id"] == expected_id(folder, seen["piece_bytes"])
    assert seen["complete"]


def test_names_of_many_scripts(home):
    folder = home.dir / "naïve — наивно"
    for name in SCRIPTS:
        make_file(folder / name / f"{name}.txt", 100, seed=name)
        make_file(folder / f"{name}.bin", 200, seed=name)
    seen = share_and_compare(home, folder)
    assert len(seen["files"]) == 2 * len(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS[:4])
def test_single_file_of_a_script(home, name):
    share_and_compare(home, make_file(home.dir / "scripts" / name, 5000, seed=name))


def test_executable(home):
    folder = home.dir / "tools"
    for name in ("run", "bin/tool", "README"):
        make_file(folder / name, 3000, seed=name)
    (folder / "run").chmod(0o755)
    (folder / "bin/tool").chmod(0o700)
    (folder / "README").chmod(0o644)
    assert share_and_compare(home, folder)["executable"] == ["tools/bin/tool", "tools/run"]


def test_single_executable(home):
    path = make_file(home.dir / "alone", 3000, seed="alone")
    path.chmod(0o755)
    assert share_and_compare(home, path)["executable"] == ["alone"]


def test_another_name(home):
    """--name changes the id, as the name is in the info dictionary."""
    path = make_file(home.dir / "renamed" / "before.bin", 2 * SMALL_PIECE + 1)
    said = home.ronda("share", path, "--name", "after.bin").doc
    torrent = write_torrent(home, "after.bin", home.dir / "after.torrent")
    after = path.rename(path.with_name("after.bin"))
    seen = checked(home, torrent, after.parent)
    assert (seen["v2"], seen["name"]) == (said["id"], "after.bin")
    assert expected_id(after, seen["piece_bytes"]) == said["id"]
    assert seen["complete"]


def test_what_differs_is_not_complete(home):
    """The cases above can fail: one flipped bit, and libtorrent lacks just that piece."""
    path = make_file(home.dir / "flipped" / "image.bin", 4 * SMALL_PIECE)
    said = home.ronda("share", path).doc
    torrent = write_torrent(home, said["id"], home.dir / "flipped.torrent")
    data = bytearray(path.read_bytes())
    data[2 * SMALL_PIECE + 7] ^= 1
    path.write_bytes(data)
    seen = checked(home, torrent, path.parent)
    assert not seen["complete"]
    assert seen["done_bytes"] == 3 * SMALL_PIECE
    assert expected_id(path, SMALL_PIECE) != said["id"]


def test_torrent_of_what_was_fetched(pair):
    """The receiver's .torrent is the source's, byte for byte, layers included."""
    left, right = pair.hosts
    folder = left.dir / "album"
    for number in range(3):
        make_file(folder / f"{number}.ogg", 3 * SMALL_PIECE + number, seed=number)
    said = left.ronda("share", folder).doc
    into = right.dir / "got"
    into.mkdir()
    right.ronda("get", said["id"], "-o", into)
    ours = write_torrent(left, said["id"], left.dir / "album.torrent")
    theirs = write_torrent(right, said["id"], right.dir / "album.torrent")
    assert ours.read_bytes() == theirs.read_bytes()
    seen = checked(right, theirs, into)
    assert seen["complete"] and seen["v2"] == said["id"]
