"""Where the lake is: its tables' places, storage options and file systems, on a disk or on S3.

The one place that maps settings to deltalake's object store and to s3fs. Credentials come from the usual AWS variables
and never from the URI, so they can't reach a log by way of it.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from schemas.errors import ConfigError, IncompatibleLake, LakeNotFound, StoreUnavailable
from schemas.tables import LAKE_FORMAT, TABLES, TableSpec

FORMAT_KEY: Final = "playlake.format"
"""Name in a table's configuration of the format of the lake to which it belongs."""
LOG_RETENTION_KEY: Final = "delta.logRetentionDuration"
"""Name in a table's configuration of how long commits stay that no kept version needs."""
LOG_RETENTION: Final = dt.timedelta(days=7)
"""For new tables. Files replaced by a compaction stay as long, so older versions could not be read anyway."""
CHECKPOINT_INTERVAL: Final = 100
"""Commits from one checkpoint of a table's log to the next."""
_STORE_TIMEOUT_S: Final = 30
"""An S3 API that leaves a request without an answer for this long is away."""
_GLOB = re.compile(r"[*?\[\]{}]")
_STORE_TROUBLE = (OSError, DeltaError)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_S3_ANSWER = re.compile(r"<Code>([^<]*)</Code>(?:\s*<Message>([^<]*)</Message>)?")


@dataclass(frozen=True)
class Lake:
    """A lake's address. Holds no handle and no connection: cheap to make, safe to share between threads.

    Attributes:
        uri: an absolute folder path, or `s3://bucket/prefix`; without a slash at its end.
        tables: its tables by name; other than `TABLES` for one that no worker wrote (`compaction.foreign`).
    """

    uri: str
    tables: Mapping[str, TableSpec] = field(default_factory=lambda: TABLES, repr=False, compare=False)

    @classmethod
    def at(cls, uri: str) -> Lake:
        """Return the lake at `uri`, which need not exist yet.

        Args:
            uri: a folder (relative ones start at the working directory, `~` is the home folder), `file:///folder` or
                `s3://bucket/prefix`.

        Raises:
            ConfigError: another scheme, an S3 address without a bucket, or a character that readers take for a pattern.
        """
        uri = uri.strip()
        if uri.startswith("file://"):
            uri = uri.removeprefix("file://")
        if not uri:
            raise ConfigError("the lake's address is empty: give a folder or s3://bucket/prefix with --lake")
        if _GLOB.search(uri):
            raise ConfigError(f"the lake's address {uri!r} holds one of *?[]{{}}, which readers take for a pattern")
        if uri.startswith("s3://"):
            if not uri.removeprefix("s3://").strip("/"):
                raise ConfigError(f"the lake's address {uri!r} names no bucket: write s3://bucket/prefix")
            return cls(uri.rstrip("/"))
        if "://" in uri:
            raise ConfigError(f"the lake's address {uri!r} is neither a folder nor s3://bucket/prefix")
        return cls(str(Path(uri).expanduser().absolute()))

    @property
    def is_own(self) -> bool:
        """Whether workers of ours write it: it has all of `TABLES`, and gold."""
        return self.tables is TABLES

    @property
    def events(self) -> TableSpec:
        """The table that repair is about: silver, or the only one."""
        return next(spec for spec in self.tables.values() if spec.repair is not None)

    @property
    def is_s3(self) -> bool:
        """Whether the lake is on an S3 API."""
        return self.uri.startswith("s3://")

    @cached_property
    def storage_options(self) -> dict[str, str]:
        """Options for deltalake. It reads the AWS variables itself; an http endpoint has to be allowed by name."""
        if not self.is_s3:
            return {}
        options = {"retry_timeout": f"{_STORE_TIMEOUT_S}s"}
        endpoint = _s3_endpoint()
        if endpoint is not None:
            options |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": str(endpoint.startswith("http://")).lower()}
        return options

    def filesystem(self) -> Any:
        """Return an fsspec file system for what lies outside of deltalake: reading Parquet and the log's JSON."""
        if self.is_s3:
            return _s3_filesystem(max_attempts=3)
        import fsspec

        return fsspec.filesystem("file")

    def filesystem_of_data(self) -> Any:
        """Return an fsspec file system for what DuckDB reads of a lake on S3: it asks for no file twice."""
        from sink.s3_files import DataFiles

        files = _s3_filesystem(max_attempts=3, kind=DataFiles)
        files.forget()  # what another connection of this process asked long ago
        return files

    def path(self, name: str) -> str:
        """Return the URI of a table: one of `TABLES`, or `gold/<name>`."""
        return f"{self.uri}/{self.tables[name].path if name in self.tables else name}"

    def put(self, name: str, files: Mapping[str, pa.Buffer]) -> None:
        """Write new files into a table's folder, those on S3 side by side.

        Args:
            name: one of its tables.
            files: content by path below the table's folder.

        Raises:
            StoreUnavailable: the store did not take all of them, or the table's folder is gone.
        """
        place = self.path(name)
        try:
            if self.is_s3:
                self._upload({f"{place}/{path}": data for path, data in files.items()})
            else:
                for path, data in files.items():
                    with _new_local_file(Path(place), path) as file:
                        file.write(data)
        except OSError as error:
            raise store_trouble(place, error) from error

    @contextmanager
    def new_file(self, name: str, path: str) -> Iterator[BinaryIO]:
        """Write one large file into a table's folder, piece by piece; whatever fails leaves none.

        Args:
            name: one of its tables.
            path: below the table's folder; nothing is there yet.

        Raises:
            StoreUnavailable: the store does not take it.
        """
        place = f"{self.path(name)}/{path}"
        try:
            if self.is_s3:
                with _discarded_on_failure(_s3_filesystem(max_attempts=3).open(place, "wb")) as file:
                    yield file
            else:
                with _new_local_file(Path(self.path(name)), path) as file:
                    yield file
        except OSError as error:
            raise store_trouble(place, error) from error

    def _upload(self, objects: Mapping[str, pa.Buffer]) -> None:
        filesystem = _s3_filesystem(max_attempts=2)
        filesystem.retries = 1  # who flushes is told soon, says so and tries again
        with _os_errors():
            filesystem.pipe({path: data.to_pybytes() for path, data in objects.items()})

    def exists(self, name: str) -> bool:
        """Return whether the table is there.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        try:
            return bool(DeltaTable.is_deltatable(self.path(name), self.storage_options))
        except _STORE_TROUBLE as error:
            raise store_trouble(self.path(name), error) from error

    def table(self, name: str, version: int | None = None) -> DeltaTable:
        """Open a table at its newest version (or at `version`) and check that this playlake understands it.

        Raises:
            LakeNotFound: there is no such table.
            IncompatibleLake: another version of playlake made it.
            StoreUnavailable: the store did not answer.
        """
        path = self.path(name)
        try:
            if not self.is_s3 and not os.path.isdir(path):
                raise TableNotFoundError(path)
            handle = DeltaTable(path, version=version, storage_options=self.storage_options)
        except TableNotFoundError:
            raise LakeNotFound(
                f"there is no lake at {self.uri} (no Delta table at {path}): "
                "check --lake, or fill one with `playlake stream` or `playlake demo`"
            ) from None
        except _STORE_TROUBLE as error:
            raise store_trouble(path, error) from error
        self._check_format(handle, path)
        return handle

    def table_or_create(self, name: str) -> DeltaTable:
        """Open one of the lake's tables, making it when it isn't there. Safe when several workers start at once.

        Raises:
            ConfigError: a file is in the way.
            IncompatibleLake: a table of that name has another format.
            StoreUnavailable: the store did not answer, or refuses writes.
        """
        try:
            return self.table(name)
        except LakeNotFound:
            pass
        spec = self.tables[name]
        path = self.path(name)
        try:
            if not self.is_s3:
                Path(path).mkdir(parents=True, exist_ok=True)
            DeltaTable.create(
                path,
                schema=spec.schema,
                mode="ignore",
                partition_by=[spec.partition_by],
                name=f"playlake {name}",
                configuration=_configuration(spec),
                storage_options=self.storage_options,
                raise_if_key_not_exists=False,
            )
        except (NotADirectoryError, FileExistsError):
            raise ConfigError(
                f"{path} can't be made, since there is a file where a folder should be: check --lake"
            ) from None
        except _STORE_TROUBLE as error:
            try:
                return self.table(name)
            except LakeNotFound:
                raise store_trouble(path, error) from error
        return self.table(name)

    def require(self) -> None:
        """Raise `LakeNotFound` or `IncompatibleLake` unless this is a lake with all its tables."""
        for name in self.tables:
            self.table(name)

    def _check_format(self, handle: DeltaTable, path: str) -> None:
        found = handle.metadata().configuration.get(FORMAT_KEY)
        if found is not None and found != str(LAKE_FORMAT):
            raise IncompatibleLake(
                f"{path} has lake format {found}, this playlake writes format {LAKE_FORMAT}: "
                "use the playlake that wrote it, or another --lake; nothing was touched"
            )

    def gold_configuration(self) -> dict[str, str]:
        """Return the table configuration that marks a gold table as this format's."""
        return {FORMAT_KEY: str(LAKE_FORMAT), LOG_RETENTION_KEY: interval(LOG_RETENTION)}


def append(handle: DeltaTable, files: Collection[AddAction], entries: Collection[Transaction]) -> None:
    """Commit files, or none, and `txn` entries, upon a handle's version; the handle stays at that.

    The log is cleaned up with those commits that write a checkpoint. deltalake would do it with each, and list the
    whole log for it: after 10,000 commits that took 100 of 125 ms on a disk, and is ten requests to S3.

    Raises:
        CommitFailedError: another commit came in between, and the two don't go together.
        OSError, DeltaError: the store's trouble (`store_trouble`).
    """
    has_checkpoint = (handle.version() + 2) % CHECKPOINT_INTERVAL == 0
    handle.create_write_transaction(
        [*files],
        "append",
        handle.schema(),
        commit_properties=CommitProperties(app_transactions=[*entries]),
        post_commithook_properties=PostCommitHookProperties(
            create_checkpoint=True, cleanup_expired_logs=None if has_checkpoint else False
        ),
    )


def data_files(handle: DeltaTable) -> list[str]:
    """Return the paths of a table's live Parquet files at the handle's version, as DuckDB and fsspec take them.

    `DeltaTable.file_uris` answers percent-encoded paths for local folders with, say, a space in their name; those name
    no file. Never glob instead: rejected and superseded commits leave their files behind.
    """
    uris = handle.file_uris()
    return uris if handle.table_uri.startswith("s3://") else [unquote(uri).removeprefix("file://") for uri in uris]


def interval(span: dt.timedelta) -> str:
    """Return a time span, to the hour and not less, as a Delta table's configuration writes it."""
    hours = max(1, -(-span // dt.timedelta(hours=1)))
    return f"interval {hours // 24} days" if hours % 24 == 0 else f"interval {hours} hours"


def modified_s(info: Mapping[str, Any]) -> float:
    """Return when a file was written, in seconds since 1970, from what fsspec lists of it."""
    modified = info.get("mtime") or info.get("LastModified") or 0
    return modified.timestamp() if isinstance(modified, dt.datetime) else float(modified)


def empty_table(name: str) -> pa.Table:
    """Return a table of no rows with the schema of one of `TABLES`."""
    return TABLES[name].schema.empty_table()


def store_trouble(place: str, error: Exception) -> StoreUnavailable:
    """Return a foreign storage error as ours: one line with the place, what failed and the innermost cause.

    Of an S3 answer the foreign error, too, keeps no more: a traceback would tell the key's id and what was signed.
    """
    causes = _causes(error)
    if _S3_ANSWER.search(str(error)):
        error.args = (causes,)
    return StoreUnavailable(f"the store does not serve {place}: {causes}")


@contextmanager
def _new_local_file(table: Path, path: str) -> Iterator[BinaryIO]:
    """Open a new file below a table's folder, which has to be there; whatever fails leaves none."""
    for folder in reversed(Path(path).parents[:-1]):
        (table / folder).mkdir(exist_ok=True)
    place = table / path
    try:
        with place.open("xb") as file:
            yield file
    except BaseException:
        place.unlink(missing_ok=True)
        raise


@contextmanager
def _discarded_on_failure(file: Any) -> Iterator[BinaryIO]:
    try:
        with _os_errors():
            yield file
            file.close()
    except BaseException:
        file.discard()
        raise


@contextmanager
def _os_errors() -> Iterator[None]:
    """Make OSErrors of botocore's: s3fs does so with most, not with all."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error


def _causes(error: Exception) -> str:
    """Return the first line, and behind it S3's code and message, or else the last line.

    Never an S3 answer as a whole: it repeats the id of the key and the request.
    """
    text = _COLOUR.sub("", str(error))
    answer = _S3_ANSWER.search(text)
    lines = [line for line in (line.strip(" \t\r↳") for line in text.splitlines()) if line]
    first = lines[0] if lines else type(error).__name__
    last = ": ".join(part for part in answer.groups() if part) if answer else lines[-1] if lines else first
    return first if last == first else f"{first}: {last}"


def _configuration(spec: TableSpec) -> dict[str, str]:
    return {
        FORMAT_KEY: str(LAKE_FORMAT),
        "delta.dataSkippingStatsColumns": ",".join(spec.statistics),
        "delta.checkpointInterval": str(CHECKPOINT_INTERVAL),
        LOG_RETENTION_KEY: interval(LOG_RETENTION),
    }


def _s3_filesystem(max_attempts: int, kind: Callable[..., Any] | None = None) -> Any:
    """Return an s3fs that makes so many attempts at a request; by default it is 25 at one that is throttled, for 40 s.

    Without the listings cache: s3fs calls a file absent that came after its folder was listed.
    """
    import s3fs

    return (kind or s3fs.S3FileSystem)(
        endpoint_url=_s3_endpoint(),
        use_listings_cache=False,
        client_kwargs={"region_name": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")},
        config_kwargs={
            "connect_timeout": 5,
            "read_timeout": _STORE_TIMEOUT_S,
            "retries": {"mode": "standard", "total_max_attempts": max_attempts},
        },
    )


def _s3_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
