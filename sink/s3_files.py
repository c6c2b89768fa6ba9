"""S3 as DuckDB reads a lake's files from it. Imported where a lake is on S3 alone: s3fs takes its time."""

from __future__ import annotations

from typing import Any

from fsspec.asyn import sync
from s3fs import S3FileSystem


class DataFiles(S3FileSystem):  # type: ignore[misc]
    """Keeps what S3 told of a file, since none changes under its name: DuckDB asks up to 22 times a statement."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what s3fs takes."""
        super().__init__(*args, **kwargs)
        self._known: dict[str, dict[str, Any]] = {}

    def forget(self) -> None:
        """Ask again from here on."""
        self._known.clear()

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Return what is known of a file; see fsspec."""
        return self._known.get(self._strip_protocol(path)) or sync(self.loop, self._info, path, **kwargs)

    async def _info(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        name = self._strip_protocol(path)
        if name not in self._known:
            self._known[name] = await super()._info(path, *args, **kwargs)
        return self._known[name]
