"""What libtorrent makes of a .torrent and of the data beside it, as one JSON document.

    libtorrent_check.py FILE.torrent SAVE_PATH

A session on loopback alone that looks for nobody: it only checks the files."""

import json
import sys
import time

import libtorrent as lt

ALONE = {"listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False,
         "enable_upnp": False, "enable_natpmp": False, "enable_outgoing_tcp": False,
         "enable_outgoing_utp": False}
CHECKING = (lt.torrent_status.states.checking_files,
            lt.torrent_status.states.checking_resume_data)
TIMEOUT_S = 120


def check(torrent, save_path):
    info = lt.torrent_info(torrent)
    session = lt.session(ALONE)
    handle = session.add_torrent({"ti": info, "save_path": save_path})
    deadline = time.monotonic() + TIMEOUT_S
    while handle.status().state in CHECKING or not handle.status().has_metadata:
        if time.monotonic() > deadline:
            raise SystemExit("libtorrent does not end its check")
        time.sleep(0.05)
    status = handle.status()
    files = info.files()
    return {
        "v1": info.info_hashes().has_v1(),
        "v2": str(info.info_hashes().v2),
        "name": info.name(),
        "piece_bytes": info.piece_length(),
        "files": {files.file_path(i): files.file_size(i) for i in range(files.num_files())
                  if not files.file_flags(i) & lt.file_flags_t.flag_pad_file},
        "executable": sorted(files.file_path(i) for i in range(files.num_files())
                             if files.file_flags(i) & lt.file_flags_t.flag_executable),
        "complete": status.is_seeding,
        "wanted_bytes": status.total_wanted,
        "done_bytes": status.total_wanted_done,
        "error": status.errc.message() if status.errc.value() else None,
    }


print(json.dumps(check(*sys.argv[1:])))
