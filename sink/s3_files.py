"""S3 as DuckDB reads a lake's files from it. Imported where a lake is on S3 alone: s3fs takes its time."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import Any, Final

from fsspec.asyn import sync
from s3fs import S3FileSystem

_SMALL: Final = 1 << 20
"""Bytes: s3fs would fetch as much at once in any case."""
_KEPT: Final = 64 << 20
"""Bytes of small files that are kept."""


class DataFiles(S3FileSystem):  # type: ignore[misc]
    """Keeps what S3 told of a file, and small files as a whole, since none changes under its name.

    In one statement DuckDB asks for a file's size up to 22 times, and opens it up to 5 times.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what s3fs takes."""
        super().__init__(*args, **kwargs)
        self._known: dict[str, dict[str, Any]] = {}
        self._small: OrderedDict[str, bytes] = OrderedDict()
        self._small_bytes = 0
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Ask again from here on."""
        with self._lock:
            self._known.clear()
            self._small.clear()
            self._small_bytes = 0

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Return what is known of a file; see fsspec."""
        return self._known.get(self._strip_protocol(path)) or sync(self.loop, self._info, path, **kwargs)

    async def _info(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        name = self._strip_protocol(path)
        known = self._known.get(name)  # `forget` may come at any time
        if known is None:
            known = self._known[name] = await super()._info(path, *args, **kwargs)
        return known

    def _open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        if mode != "rb" or self.info(path)["size"] > _SMALL:
            return super()._open(path, mode, *args, **kwargs)
        name = self._strip_protocol(path)
        with self._lock:
            content = self._small.get(name)
            if content is not None:
                self._small.move_to_end(name)
        if content is None:
            content = self.cat_file(path)
            self._keep(name, content)
        return io.BytesIO(content)

    def _keep(self, name: str, content: bytes) -> None:
        with self._lock:
            if name not in self._small:
                self._small[name] = content
                self._small_bytes += len(content)
            while self._small_bytes > _KEPT:
                self._small_bytes -= len(self._small.popitem(last=False)[1])
