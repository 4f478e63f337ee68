"""Many small files."""

import random

import rivals
from contest import Setting

FILE_BYTES = 10 * 1024
IN_ONE_FOLDER = 100


def make_tree(root, size):
    """A folder of files of FILE_BYTES, `size` bytes in all."""
    rng = random.Random(size)
    for i in range(size // FILE_BYTES):
        folder = root / f"d{i // IN_ONE_FOLDER:03d}"
        if i % IN_ONE_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"f{i:05d}").write_bytes(rng.randbytes(FILE_BYTES))
    return root


def small(bench):
    files = bench.pick(10_000, 2_000)
    mib = files * FILE_BYTES / 2**20
    for _ in range(bench.repeat):
        for cls, receivers in ((rivals.Ronda, 4), (rivals.Rsync, 1)):
            if cls in bench.systems((cls,)):
                bench.hold("small", cls, Setting(mib, receivers, warm=True, make=make_tree), files=files)
