"""Files for `playlake ingest`, its runs as processes, and what was put into the files, kept apart from playlake."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from tests.ledger import positions, table_rows
from tests.workers import Running

Put = Callable[[str, bytes], None]
Pack = Callable[[bytes], bytes]


class FilesLedger:
    """Every record of every file that was put, by the file and the line on which it begins."""

    def __init__(self, put: Put) -> None:
        """Give what makes a file of a name and bytes, whole at once."""
        self._put = put
        self.records: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self.records)

    def put(self, name: str, values: Iterable[bytes], pack: Pack = bytes, end: bytes = b"\n") -> None:
        """Put a file with a value a line."""
        lines = list(values)
        self._put(name, pack(b"".join(line + end for line in lines)))
        self.records |= {f"{name}:{number}".encode(): line for number, line in enumerate(lines, 1)}

    def put_side_by_side(self, name: str, values: Iterable[bytes], pack: Pack = gzip.compress) -> None:
        """Put a file as Firehose does where no newline was asked for: nothing between the values."""
        objects = list(values)
        self._put(name, pack(b"".join(objects)))
        self.records |= {f"{name}:1#{number}".encode(): value for number, value in enumerate(objects, 1)}

    def agrees_with(self, lake: Path | str) -> None:
        """Each record exactly once in bronze, byte for byte, at positions without a hole, and with exactly one fate."""
        rows = table_rows(lake, "bronze", ["kafka_offset", "key", "value"]).to_pylist()
        assert len(self.records) == len(rows), f"{len(self.records)} records put, {len(rows)} rows in bronze"
        assert self.records == {row["key"]: row["value"] for row in rows}
        ordinals = sorted(row["kafka_offset"] for row in rows)
        assert list(range(len(rows))) == ordinals
        fates = Counter(positions(lake, "silver") + positions(lake, "quarantine"))
        assert Counter((0, ordinal) for ordinal in ordinals) == fates
        keys = {row["kafka_offset"]: row["key"] for row in rows}
        refused = table_rows(lake, "quarantine", ["kafka_offset", "key"]).to_pylist()
        assert all(keys[row["kafka_offset"]] == row["key"] for row in refused)


def folder_put(folder: Path) -> Put:
    """Put files into a folder by renaming, as the documentation asks for, old enough to be taken at once."""

    def put(name: str, data: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}")
        unfinished.write_bytes(data)
        age_s = unfinished.stat().st_mtime - 60
        os.utime(unfinished, (age_s, age_s))
        unfinished.rename(path)

    return put


class Ingests:
    """Starts `playlake ingest`, and ends what still runs when the test is over."""

    def __init__(self, place: str, lake: Path | str, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self._words = ["ingest", place, "--lake", str(lake), "--json"]
        self._folder, self._env = folder, env or {}
        self._started: list[Running] = []

    def start(self, *flags: str, env: Mapping[str, str] | None = None) -> Running:
        name = f"ingest-{len(self._started) + 1}"
        running = Running(name, [*self._words, *flags], self._folder, {**self._env, **(env or {})})
        self._started.append(running)
        return running

    def once(self, *flags: str) -> Running:
        """Run one to its end, which must be a good one."""
        running = self.start(*flags)
        code = running.exit_code(100)
        assert 0 == code, running.log
        return running

    def close(self) -> None:
        for running in self._started:
            running.kill()
            print(f"---- {running.name}\n{running.log}")


@contextmanager
def ingests_of(place: str, lake: Path | str, tmp_path: Path, env: Mapping[str, str] | None = None) -> Iterator[Ingests]:
    """Give `Ingests` whose logs are below `tmp_path`; all of them have ended afterwards. For fixtures."""
    folder = tmp_path / "ingests"
    folder.mkdir()
    started = Ingests(place, lake, folder, env)
    try:
        yield started
    finally:
        started.close()


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed
