"""A small disk that one program has to itself: a tmpfs(5) in a mount namespace of its own; a test sees it below /proc/PID/root.

Root makes one, and so does everybody where user namespaces are allowed (user_namespaces(7)).
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

_MOUNT = """
mount -t tmpfs -o "size=$0" none "$1" || exit
[ -z "$2" ] || head -c "$2" /dev/zero >"$1/ballast"
cd "$1" && shift 2 && exec "$@"
"""


class SmallDisk:
    """folder: an empty one, where the program finds the disk, and is. size: bytes."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        folder.mkdir()
        self._unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        tried = subprocess.run(self.command("true"), capture_output=True, check=False)
        if tried.returncode != 0:
            assert os.environ.get("PRISE_ALL_PROGRAMS") != "1", tried.stderr
            pytest.skip("neither root nor user namespaces: no disk of our own")

    def command(self, *command: str, filled: int = 0) -> list[str]:
        """Runs a program with the disk. filled: bytes of it that are taken already."""
        given = str(filled) if filled else ""
        return [*self._unshare, "sh", "-c", _MOUNT, str(self.size), str(self.folder), given, *command]

    def seen_from(self, pid: int) -> Path:
        """The disk, while the program runs."""
        return Path(f"/proc/{pid}/root{self.folder}")


def fill(disk: Path) -> None:
    """Takes all the room that is left."""
    with (disk / "ballast").open("ab", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(1024))


def make_room(disk: Path) -> None:
    (disk / "ballast").unlink()
