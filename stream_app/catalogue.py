"""The title catalogue: a CSV in the public Netflix-titles layout, read again when the file changes."""

from __future__ import annotations

import logging
import os
from importlib.resources import files
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv

from schemas.countries import countries
from schemas.errors import ConfigError

COLUMNS: Final = ("show_id", "type", "title", "director", "country", "release_year", "rating", "duration", "listed_in")
"""Columns that are used; the layout's others (`cast`, `date_added`, `description`) may be there or not."""

TITLES: Final = pa.schema(
    [
        pa.field("title_id", pa.string()),
        pa.field("title", pa.string()),
        pa.field("content_type", pa.string()),
        pa.field("genres", pa.list_(pa.string())),
        pa.field("release_year", pa.int32()),
        pa.field("rating", pa.string()),
        pa.field("director", pa.string()),
        pa.field("duration_s", pa.float64()),
        pa.field("content_countries", pa.list_(pa.string())),
    ]
)

_SQL: Final = files("stream_app").joinpath("catalogue.sql").read_text(encoding="utf-8")
_log = logging.getLogger(__name__)


def shipped_catalogue() -> Path:
    """Return the path of the small catalogue of invented titles that comes with playlake."""
    return Path(str(files("schemas").joinpath("titles.csv")))


def known_countries() -> pa.Table:
    """Return the countries that playlake knows: columns `code` and `region`."""
    return pa.table({name: [getattr(country, name) for country in countries()] for name in ("code", "region")})


def read_titles(path: Path) -> pa.Table:
    """Read a catalogue.

    Returns:
        One row a title, schema `TITLES`, sorted by `title_id`; of repeated ids the first row counts.

    Raises:
        ConfigError: the file is missing, unreadable, not UTF-8, not CSV, lacks columns or holds no title.
    """
    try:
        csv = pa_csv.read_csv(
            path,
            convert_options=pa_csv.ConvertOptions(
                column_types={name: pa.string() for name in COLUMNS}, strings_can_be_null=False
            ),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        )
    except FileNotFoundError:
        raise ConfigError(f"the title catalogue {path} is not there: give a CSV with --catalogue") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"the title catalogue {path} can't be read: {str(error).splitlines()[0]}") from None
    missing = [name for name in COLUMNS if name not in csv.column_names]
    if missing:
        raise ConfigError(f"the title catalogue {path} lacks the columns {', '.join(missing)}")
    csv = csv.select(COLUMNS).append_column("row_number", pa.array(range(csv.num_rows), pa.int64()))
    with duckdb.connect() as con:
        con.register("csv", csv)
        titles = con.sql(_SQL).to_arrow_table().cast(TITLES)
    if titles.num_rows == 0:
        raise ConfigError(f"the title catalogue {path} holds no title")
    return titles


class WatchedCatalogue:
    """A catalogue file and the newest readable version of it."""

    def __init__(self, path: Path) -> None:
        """Read the file once.

        Raises:
            ConfigError: as `read_titles`.
        """
        self._path = path
        self._stamp = self._stat()
        self.titles = read_titles(path)

    def reload_if_changed(self) -> bool:
        """Read the file again when its time or size changed; return whether `titles` is another table now.

        A file that can't be read (half written, or gone for a moment) leaves the former titles in use, with one warning
        a change: a worker must not stop because somebody replaces a file.
        """
        stamp = self._stat()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.titles = read_titles(self._path)
        except ConfigError as error:
            _log.warning("keeping the former title catalogue: %s", error)
            return False
        _log.info("title catalogue %s read again: %d titles", self._path, self.titles.num_rows)
        return True

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
