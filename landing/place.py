"""Where files land: a folder or an S3 bucket's prefix, listed in the order of names and read as streams.

Both list the same way: by the bytes of the name below the place, from behind a given name on. S3 answers a thousand
names a request; of a folder, subfolders that lie before the given name are not entered.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from botocore.exceptions import ClientError

from landing import aws
from schemas.errors import BrokerUnavailable, ConfigError, OffsetsGone

ID_PREFIX: Final = "files:"
_NOT_IN_A_TOPIC: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_TOPIC: Final = 200
_CHANGED: Final = ("PreconditionFailed", "412")
_GONE: Final = ("NoSuchKey", "404")
_HIDDEN: Final = (".", "_")
_UNFINISHED: Final = (".tmp", ".part", ".partial", ".crc", ".filepart")


@dataclass(frozen=True, order=True)
class File:
    """A file as it was found.

    Attributes:
        path: below its place, with slashes.
        size: in bytes.
        etag: changes when the content does: S3's, or a local file's time of change.
        modified_us: when it was written, microseconds since 1970 UTC.
    """

    path: str
    size: int
    etag: str
    modified_us: int

    def is_same(self, other: File) -> bool:
        """Return whether the other one has the same content, as far as can be told without reading."""
        return (self.path, self.size, self.etag) == (other.path, other.size, other.etag)


class FileGone(OffsetsGone):
    """A file is no longer there, or has another content than when it was listed."""


class Place(Protocol):
    """A folder or a bucket's prefix.

    Every method raises `BrokerUnavailable` while it is away and `ConfigError` where it can't be right.
    """

    @property
    def uri(self) -> str:
        """Where: an absolute path, or `s3://bucket/prefix`."""

    def files(self, after: str = "") -> Iterator[File]:
        """Yield the files whose names lie behind `after`, in the order of the bytes of their names."""

    def file(self, path: str) -> File | None:
        """Return one file as it is now; None where there is none."""

    def open(self, file: File) -> BinaryIO:
        """Open a file to be read from its beginning.

        Raises:
            FileGone: it is no longer as it was found.
        """


def topic_of(place: Place) -> str:
    """Return what the place's records are said to come from: its last folders, fit to be a topic's name."""
    name = _NOT_IN_A_TOPIC.sub("-", place.uri.removeprefix("s3://").strip("/")).strip("-.")
    return name[-_LONGEST_TOPIC:].lstrip("-.") or "files"


def id_of(place: Place) -> str:
    """Return what no other place has, in the alphabet of topics' ids."""
    digest = hashlib.sha256(place.uri.encode()).digest()[:16]
    return ID_PREFIX + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_wanted(path: str) -> bool:
    """Return whether a file is data: no part of its name hides it, and it is not being written still."""
    parts = path.split("/")
    return bool(parts[-1]) and not any(map(_is_hidden, parts)) and not parts[-1].endswith(_UNFINISHED)


def _is_hidden(name: str) -> bool:
    return name.startswith(_HIDDEN)


class Folder:
    """A folder with all that is below it."""

    def __init__(self, path: Path) -> None:
        """Name it; nothing is looked at yet."""
        self.uri = str(path)
        self._path = path

    def files(self, after: str = "") -> Iterator[File]:
        """See `Place`."""
        if not self._path.is_dir():
            raise ConfigError(f"there is no folder {self.uri}: check where files land, or make it")
        with self._away():
            yield from self._below("", os.fsencode(after))

    def _below(self, prefix: str, after: bytes) -> Iterator[File]:
        names = [(entry.name, entry.is_dir()) for entry in os.scandir(self._path / prefix)]
        paths = [(os.fsencode(f"{prefix}{name}/" if is_dir else prefix + name), is_dir) for name, is_dir in names]
        for encoded, is_dir in sorted(paths):
            try:
                path = encoded.decode()
            except UnicodeDecodeError:
                raise ConfigError(f"{self.uri}: the name {os.fsdecode(encoded)!r} is no UTF-8: rename it") from None
            if is_dir:
                if encoded > after or after.startswith(encoded):
                    yield from self._below(path, after)
            elif encoded > after and (found := self.file(path)) is not None:
                yield found

    def file(self, path: str) -> File | None:
        """See `Place`."""
        try:
            return _local_file(path, os.stat(self._path / path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, file: File) -> BinaryIO:
        """See `Place`."""
        with self._away():
            try:
                opened = (self._path / file.path).open("rb", buffering=0)
            except (FileNotFoundError, NotADirectoryError):
                raise FileGone(f"{self.uri}/{file.path} is no longer there") from None
            found = _local_file(file.path, os.fstat(opened.fileno()))
            if found is None or not found.is_same(file):
                opened.close()
                raise FileGone(f"{self.uri}/{file.path} has changed since it was listed")
            return io.BufferedReader(_UpTo(opened, file.size))

    @contextmanager
    def _away(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise ConfigError(f"{error.filename} may not be read by this user: change its rights") from error
        except OSError as error:
            raise BrokerUnavailable(f"the folder {self.uri} can't be read now: {error}") from error


def _local_file(path: str, found: os.stat_result) -> File | None:
    if not stat.S_ISREG(found.st_mode):
        return None
    return File(path, found.st_size, f"{found.st_mtime_ns:x}", found.st_mtime_ns // 1000)


class _UpTo(io.RawIOBase):
    """A file as long as it was when it was listed, though somebody may go on writing it."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        data = self._file.read(min(len(target), self._left)) or b""
        self._left -= len(data)
        target[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class Bucket:
    """What lies below a prefix of an S3 bucket."""

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        """Wrap a client of S3; `prefix` is empty or ends with a slash. Nothing is asked yet."""
        self.bucket = bucket
        self.prefix = prefix
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._client = client

    def files(self, after: str = "") -> Iterator[File]:
        """See `Place`."""
        where: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self.prefix}
        if after:
            where["StartAfter"] = self.prefix + after
        while True:
            with aws.errors(self.uri, "list"):
                page = self._client.list_objects_v2(**where)
            for found in page.get("Contents", []):
                yield self._file(found["Key"], found["Size"], found["ETag"], found["LastModified"])
            if not page.get("IsTruncated"):
                return
            where["ContinuationToken"] = page["NextContinuationToken"]

    def file(self, path: str) -> File | None:
        """See `Place`."""
        key = self.prefix + path
        with aws.errors(f"s3://{self.bucket}/{key}", "look at"):
            try:
                found = self._client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if aws.code_of(error) in _GONE:
                    return None
                raise
        return self._file(key, found["ContentLength"], found["ETag"], found["LastModified"])

    def open(self, file: File) -> BinaryIO:
        """See `Place`."""
        place = f"{self.uri}/{file.path}"
        with aws.errors(place, "read"):
            try:
                answer = self._client.get_object(
                    Bucket=self.bucket, Key=self.prefix + file.path, IfMatch=f'"{file.etag}"'
                )
            except ClientError as error:
                if aws.code_of(error) in _CHANGED:
                    raise FileGone(f"{place} has changed since it was listed") from None
                if aws.code_of(error) in _GONE:
                    raise FileGone(f"{place} is no longer there") from None
                raise
        return io.BufferedReader(_Body(answer["Body"], place))

    def _file(self, key: str, size: int, etag: str, modified: Any) -> File:
        path = key.removeprefix(self.prefix)
        return File(path, size, etag.strip('"'), round(modified.timestamp() * 1e6))


class _Body(io.RawIOBase):
    """An S3 answer's body as a file; what fails in it is from playlake's tree."""

    def __init__(self, body: Any, place: str) -> None:
        self._body = body
        self._place = place

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        with aws.errors(self._place, "read"):
            data = self._body.read(len(target))
        target[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


def open_place(uri: str) -> Place:
    """Return a folder, or a bucket with credentials and endpoint as AWS's own tools find them. Asks nothing yet.

    Raises:
        ConfigError: neither a folder's path nor `s3://bucket/prefix`; AWS settings that can't be.
    """
    if not uri.startswith("s3://"):
        if "://" in uri.removeprefix("file://"):
            raise ConfigError(f"{uri!r} is neither a folder nor s3://bucket/prefix")
        return Folder(Path(uri.removeprefix("file://")).expanduser().absolute())
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise ConfigError(f"{uri!r} names no bucket: write s3://bucket/prefix")
    prefix = prefix.strip("/")
    return Bucket(bucket, f"{prefix}/" if prefix else "", aws.client("s3"))
