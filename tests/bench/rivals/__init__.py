"""ronda and its rivals, each a class with the interface of base.Rival."""

import shutil
import subprocess

from .aria2 import Aria2
from .base import Rival, RivalError
from .http import Http
from .pipe import Pipe, PipeToFile
from .ronda import Ronda
from .rsync import Rsync
from .syncthing import Syncthing
from .torrent import PYTHON, Libtorrent, SuperSeeding
from .transmission import Transmission
from .udpcast import Udpcast

# In the order of the tables.
ALL: tuple[type[Rival], ...] = (Ronda, Udpcast, Libtorrent, SuperSeeding, Syncthing, Transmission,
                                Aria2, Http, Rsync)
YARDSTICKS: tuple[type[Rival], ...] = (Pipe, PipeToFile)
BY_NAME = {cls.name: cls for cls in ALL + YARDSTICKS}


def _is_there(tool):
    if tool.startswith("python3:"):
        module = tool.removeprefix("python3:")
        return subprocess.run([PYTHON, "-c", f"import {module}"], stderr=subprocess.DEVNULL,
                              check=False).returncode == 0
    return shutil.which(tool) is not None


def missing_packages(rival: type[Rival]):
    """The Debian packages a rival lacks here."""
    return sorted({package for tool, package in rival.tools.items() if not _is_there(tool)})
