"""What the lab's cases and the demo share: files to pass round, and waiting for facts."""

import hashlib
import os
import random
import shutil
import time
from pathlib import Path

MIB = 1 << 20


def make_file(path, size, seed=0):
    """Bytes that don't compress, the same for the same seed."""
    rng = random.Random(f"{seed}/{size}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        for at in range(0, size, MIB):
            out.write(rng.randbytes(min(MIB, size - at)))
    return path


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(4 * MIB):
            digest.update(block)
    return digest.hexdigest()


def tree(path):
    """{path below: sha256} of a folder, or {"": sha256} of a file; staging left out is an error."""
    if path.is_file():
        return {"": sha256(path)}
    return {os.fsdecode(os.path.relpath(p, path)): sha256(p)
            for p in sorted(path.rglob("*")) if p.is_file()}


def wait_for(what, fact, timeout_s=30):
    """Until fact() is true; returns what it returned. what: a clause, or a function that
    makes it at the end."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what() if callable(what) else what}")
        time.sleep(0.1)


def rows(host):
    return host.ronda("ls").doc


def peers(host):
    doc = host.ronda("peers").doc
    return doc["peers"] if isinstance(doc, dict) else doc


def transfer(host, share_id):
    """The entry of a share in `ronda status`, or {}."""
    for entry in host.ronda("status").doc["transfers"]:
        if entry["id"] == share_id:
            return entry
    return {}


def share(host, path, listed_at=(), name=None):
    """Shares and waits until the others have heard of it."""
    doc = host.ronda("share", path, *(["--name", name] if name else [])).doc
    for other in listed_at:
        wait_for(f"{other.name} lists {doc['name']}",
                 lambda o=other: any(row["id"] == doc["id"] for row in rows(o)))
    return doc


def dest(host, name="got"):
    path = host.dir / name
    path.mkdir(exist_ok=True)
    return path


def get(host, what, into=None, **options):
    return host.ronda("get", what, "-o", into or dest(host), **options)


def get_start(host, what, until_bytes=0):
    """Returns when the host has received so many bytes -> the job, for host.ronda_end()."""
    job = host.ronda_start("get", what, "-o", dest(host))
    wait_for(f"{host.name} has a part of it", lambda: host.counters()[0] >= until_bytes)
    return job


def get_start_all(hosts, what):
    return [(host, get_start(host, what)) for host in hosts]


def get_all(hosts, what, timeout_s=120):
    """All at once -> their last JSON documents."""
    jobs = get_start_all(hosts, what)
    return [host.ronda_end(job, timeout_s=timeout_s).doc for host, job in jobs]


def get_all_without(source, guests, what):
    """All get it, from a source that is killed as soon as it says that it may leave."""
    jobs = get_start_all(guests, what)
    wait_for("the source may leave", lambda: transfer(source, what).get("may_leave"))
    source.daemon.kill()
    for guest, job in jobs:
        guest.ronda_end(job)


def leftovers(folder):
    """Staging directories that should have gone."""
    return [p.name for p in Path(folder).iterdir() if p.name.startswith(".")]


def copy_real_files(into, count, max_bytes=256 * 1024):
    """A folder of real files from /usr/share."""
    done = 0
    for folder, folders, files in os.walk("/usr/share"):
        folders.sort()
        for name in sorted(files):
            path = Path(folder) / name
            if path.is_symlink() or not os.access(path, os.R_OK) or path.stat().st_size > max_bytes:
                continue
            target = into / path.relative_to("/usr/share")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            done += 1
            if done == count:
                return into
    raise AssertionError(f"/usr/share has only {done} files")
