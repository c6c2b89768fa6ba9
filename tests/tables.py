"""Delta tables of a lake, on a disk or on the S3 API of the AWS variables, read by deltalake and pyarrow alone."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pyarrow.fs as pf
import pyarrow.parquet as pq
from deltalake import DeltaTable

from tests.s3 import filesystem_of


def open_table(place: Path | str) -> DeltaTable:
    return DeltaTable(str(place), storage_options=_options(str(place)))


def is_table(place: Path | str) -> bool:
    return bool(DeltaTable.is_deltatable(str(place), _options(str(place))))


def files_of(table: DeltaTable) -> list[str]:
    """Paths of the files that the table's log names; of S3, `s3://bucket/key`."""
    if table.table_uri.startswith("s3://"):
        return list(table.file_uris())
    return [unquote(uri).removeprefix("file://") for uri in table.file_uris()]


def parquet_file(path: str) -> pq.ParquetFile:
    if not path.startswith("s3://"):
        return pq.ParquetFile(path)
    scheme, _, address = os.environ["AWS_ENDPOINT_URL"].partition("://")
    return pq.ParquetFile(
        path.removeprefix("s3://"), filesystem=pf.S3FileSystem(endpoint_override=address, scheme=scheme)
    )


@contextlib.contextmanager
def on_a_disk(lake: Path | str) -> Iterator[Path]:
    """The lake itself, or a copy of one on S3 for as long as the block lasts."""
    if not str(lake).startswith("s3://"):
        yield Path(lake)
        return
    with tempfile.TemporaryDirectory() as folder:
        filesystem_of(os.environ).get(f"{lake}/", f"{folder}/", recursive=True)
        yield Path(folder)


def _options(place: str) -> dict[str, str]:
    return {"AWS_ALLOW_HTTP": "true"} if place.startswith("s3://") else {}
