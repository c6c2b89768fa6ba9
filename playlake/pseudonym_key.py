"""Where the pseudonyms' key comes from: a file, or the variable `PLAYLAKE_PSEUDONYM_KEY`; never a flag's value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from schemas.errors import ConfigError
from sink.pseudonyms import Pseudonyms

VARIABLE: Final = "PLAYLAKE_PSEUDONYM_KEY"


def read_key(file: Path | None) -> Pseudonyms | None:
    """Return what the key in a file, or else in the variable, makes; None where neither is given.

    Line ends after the key are not part of it.

    Raises:
        ConfigError: the file can't be read, or the key is too short.
    """
    if file is not None:
        try:
            return Pseudonyms(file.read_bytes().rstrip(b"\r\n"))
        except OSError as error:
            raise ConfigError(f"--pseudonym-key-file {file} can't be read: {error.strerror}") from None
    key = os.environ.get(VARIABLE)
    return Pseudonyms(key.encode()) if key else None
