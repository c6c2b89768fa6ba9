"""A disk of a few megabytes that a test fills up, frees and makes read-only: a real one, without being root.

disk = SmallDisk(tmp_path / "disk")
workers = Workers(broker, folder, through=disk.through)
workers.start(topic, disk.folder / "lake")
disk.fill(leaving=4096)
disk.free()
ledger.agrees_with(disk.copy("lake", tmp_path / "copy"))

It is a tmpfs in a mount namespace of its own: only processes started `through` it find it at its folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.broker.kafka import wait_until

MEGABYTES = 64
_BALLAST = "ballast"


class NoSmallDisk(Exception):
    """This machine gives none; `str(error)` says why."""


class SmallDisk:
    """One disk, gone with the test.

    Attributes:
        folder: where processes find it that are started `through` it.
        through: the command that becomes such a process.
    """

    def __init__(self, folder: Path) -> None:
        """Mount it, empty.

        Raises:
            NoSmallDisk: neither root nor user namespaces may mount here.
        """
        folder.mkdir()
        namespaces = ["--mount"] if os.geteuid() == 0 else ["--user", "--mount"]
        mount = f'mount -t tmpfs -o size={MEGABYTES}m tmpfs "$0" && echo mounted && exec cat'
        self._holder = subprocess.Popen(
            ["unshare", *namespaces, *(["--map-root-user"] if os.geteuid() else []), "sh", "-c", mount, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None and self._holder.stderr is not None
        if self._holder.stdout.readline() != "mounted\n":
            reason = self._holder.stderr.read().strip()
            self.close()
            raise NoSmallDisk(f"no mount namespace: {reason}")
        self.folder = folder
        self._seen = Path(f"/proc/{self._holder.pid}/root{folder}")  # for system calls; deltalake resolves it away
        preserve = ["--preserve-credentials"] if os.geteuid() else []
        self.through = ["nsenter", "--target", str(self._holder.pid), *namespaces, *preserve, "--"]

    @property
    def free_bytes(self) -> int:
        """What is left of it."""
        found = os.statvfs(self._seen)
        return found.f_bavail * found.f_bsize

    def fill(self, leaving: int) -> None:
        """Leave no more than so many bytes of it, in whole pages."""
        with (self._seen / _BALLAST).open("ab") as ballast:
            while (more := self.free_bytes - leaving) > 0:
                ballast.write(bytes(min(more, 1 << 20)))
                ballast.flush()

    def free(self) -> None:
        """Give back what `fill` took."""
        (self._seen / _BALLAST).unlink()

    def make_read_only(self) -> None:
        """Refuse writes from now on; waits for a moment when nobody writes."""
        wait_until(lambda: self._remount("ro"), "nobody has a file open for writing", 30)

    def make_writable(self) -> None:
        """Take writes again."""
        assert self._remount("rw")

    def copy(self, name: str, to: Path) -> Path:
        """Bring a folder of it to where everybody finds it."""
        return Path(shutil.copytree(self._seen / name, to))

    def close(self) -> None:
        """Let go of it: it ends with the last process that uses it."""
        self._holder.communicate()

    def _remount(self, mode: str) -> bool:
        command = [*self.through, "mount", "-o", f"remount,bind,{mode}", str(self.folder)]
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
