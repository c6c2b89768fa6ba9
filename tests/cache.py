"""What tests fetch or build once and keep: folders below the user's cache, made whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache(name: str) -> Path:
    """Return where things of this name are kept; it need not be there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "playlake" / name


def made_once(folder: Path, make: Callable[[Path], None], say: Callable[[], None]) -> Path:
    """Return a folder of the cache, made the first time; two runs at once are safe, one that breaks off leaves nothing.

    Args:
        folder: where it is to be.
        make: fills an empty folder, which then becomes this one.
        say: called before, since it takes time.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        say()
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
        try:
            make(unfinished)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder
