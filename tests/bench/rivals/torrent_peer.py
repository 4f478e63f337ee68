#!/usr/bin/python3
"""A BitTorrent peer on libtorrent, for torrent.py.

    torrent_peer.py make FILE TORRENT
    torrent_peer.py seed|leech TORRENT FOLDER DONE ADDRESS [PEER...]
    torrent_peer.py super ...

Prints "ready" once it listens (a seed: once it has checked its file), then waits for a line.
A leech adds the torrent at that line, told who the others are; DONE is made once it holds
all. Both stay to serve the others, until they are killed. No tracker, no DHT, no LSD.
"""

import sys
import time
from pathlib import Path

import libtorrent as lt

PORT = 6881
# No limit to whom it serves, chosen anew every second: 10 % faster here than the defaults, and
# super seeding begins ten seconds sooner.
SETTINGS = {"unchoke_slots_limit": -1, "unchoke_interval": 1,
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


def serve(role, torrent, folder, done, address, peers):
    session = lt.session({**SETTINGS, "listen_interfaces": f"{address}:{PORT}"})
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(str(torrent))
    params.save_path = str(folder)
    params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    params.peers = [(peer, PORT) for peer in peers]
    if role == "super":
        params.flags |= lt.torrent_flags.super_seeding
    if role != "leech":
        handle = session.add_torrent(params)
        while not handle.status().is_seeding:
            time.sleep(0.02)
    print("ready", flush=True)
    sys.stdin.readline()
    if role == "leech":
        handle = session.add_torrent(params)
        while not handle.status().is_seeding:
            session.wait_for_alert(20)
            session.pop_alerts()
        done.touch()
    sys.stdin.read()


def main():
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        role, torrent, folder, done, address, *peers = sys.argv[1:]
        serve(role, Path(torrent), Path(folder), Path(done), address, peers)


if __name__ == "__main__":
    main()
