"""The wall clock of one worker, set from a test: everything in that process sees the step, librdkafka and delta-rs too.

clock = WallClock(tmp_path)
worker = workers.start(topic, lake, env=clock.env)
clock.set(hours=-7)
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """A clock that is right until it is set.

    Attributes:
        env: variables of the processes that go by it.
        offset_s: how far it is ahead of the true clock.
    """

    def __init__(self, folder: Path) -> None:
        """Build the library in `folder`. Fails the test where there is no C compiler."""
        compiler = shutil.which("cc")
        assert compiler is not None, "these tests set a worker's clock and need a C compiler: install one (cc)"
        library, self._file = folder / "wall_clock.so", folder / "wall_clock"
        command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, timeout=60)
        self.set(hours=0)
        preloaded = [str(library), *filter(None, [os.environ.get("LD_PRELOAD")])]
        self.env = {"LD_PRELOAD": ":".join(preloaded), "TEST_WALL_CLOCK": str(self._file)}

    def set(self, *, hours: float) -> None:
        """Set it to this much ahead of the true clock."""
        self.offset_s = hours * 3600.0
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", int(self.offset_s * 1e9)))
