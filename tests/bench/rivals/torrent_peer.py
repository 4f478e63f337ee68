#!/usr/bin/python3
"""A BitTorrent peer on libtorrent, for torrent.py.

    torrent_peer.py make FILE TORRENT
    torrent_peer.py seed|super|leech TORRENT FOLDER DONE ADDRESS EVERYBODY [PEER...]

Prints "ready" once it listens (a seed: once it has checked its file). At a first line it dials
these peers, and prints "met" once it is connected with EVERYBODY of the others (all but the
first dial those before them: two that dial each other at once may both hang up). At a second
line a leech begins to want the file; DONE is made once it holds all. All stay to serve the
others, until they are killed. No tracker, no DHT, no LSD.
"""

import sys
import time
from pathlib import Path

import libtorrent as lt

PORT = 6881
# No limit to whom it serves, chosen anew every second: faster than the defaults.
# Who wants nothing yet stays connected.
SETTINGS = {"unchoke_slots_limit": -1, "unchoke_interval": 1, "close_redundant_connections": False,
            "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
            "enable_incoming_utp": False, "enable_outgoing_utp": False,
            "allow_multiple_connections_per_ip": True, "announce_to_all_trackers": False,
            "alert_mask": lt.alert.category_t.error_notification | lt.alert.category_t.status_notification}


def make(path, torrent):
    files = lt.file_storage()
    lt.add_files(files, str(path))
    made = lt.create_torrent(files, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(made, str(path.parent))
    torrent.write_bytes(lt.bencode(made.generate()))


def add(session, role, torrent, folder):
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(str(torrent))
    params.save_path = str(folder)
    params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    if role == "super":
        params.flags |= lt.torrent_flags.super_seeding
    if role == "leech":
        params.piece_priorities = [0] * params.ti.num_pieces()
    return session.add_torrent(params)


def connections(handle):
    return sum(not p.flags & (p.connecting | p.handshake) for p in handle.get_peer_info())


def until(fact):
    while not fact():
        time.sleep(0.02)


def say(word):
    """And wait for the next line."""
    print(word, flush=True)
    sys.stdin.readline()


def serve(role, torrent, folder, done, address, everybody, peers):
    session = lt.session({**SETTINGS, "listen_interfaces": f"{address}:{PORT}"})
    handle = add(session, role, torrent, folder)
    until(lambda: role == "leech" or handle.status().is_seeding)
    say("ready")
    for peer in peers:
        handle.connect_peer((peer, PORT))
    until(lambda: connections(handle) >= everybody)
    say("met")
    if role == "leech":
        handle.prioritize_pieces([4] * handle.torrent_file().num_pieces())
        while not handle.status().is_seeding:
            session.wait_for_alert(20)
            session.pop_alerts()
        done.touch()
    sys.stdin.read()


def main():
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        role, torrent, folder, done, address, everybody, *peers = sys.argv[1:]
        serve(role, Path(torrent), Path(folder), Path(done), address, int(everybody), peers)


if __name__ == "__main__":
    main()
