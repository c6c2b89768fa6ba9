"""A client of one stream: a call is one request, its errors are from playlake's tree, and nobody else retries.

Whoever calls decides how long to wait; boto3's own retries are off, for they would hide throttling and double the
records of a `PutRecords` whose answer got lost.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.exceptions import ConnectionError as NoConnection

from schemas.errors import BrokerUnavailable, ConfigError, TerminalError, TopicNotFound, TransientError

MOST_RECORDS: Final = 500
"""Records that one `PutRecords` takes."""
MOST_BYTES: Final = 5 << 20
"""Bytes of values and keys that one `PutRecords` takes."""
MOST_RECORD_BYTES: Final = 1 << 20
"""Bytes of value and key of one record."""

_CONNECT_TIMEOUT_S: Final = 5
_READ_TIMEOUT_S: Final = 20
_CONNECTIONS: Final = 32
_PASSING: Final = frozenset(
    {
        "InternalFailure",
        "InternalFailureException",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
    }
)
"""Error codes that say: try again later."""

logging.getLogger("botocore.credentials").setLevel(logging.WARNING)  # tells at each start where it found a key


class IteratorExpired(TransientError):
    """A shard iterator was not used for five minutes: ask for another one."""


@dataclass(frozen=True)
class Shard:
    """One shard, open or closed.

    Attributes:
        shard_id: such as `shardId-000000000003`.
        parents: the shards that it was split or merged from, whether the stream still has them or not.
    """

    shard_id: str
    parents: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The number in its id. Kinesis counts a stream's shards up from 0 and uses no number twice."""
        return shard_number(self.shard_id)


def shard_number(shard_id: str) -> int:
    """Return the number in a shard's id."""
    return int(shard_id.rpartition("-")[2])


def shard_id(number: int) -> str:
    """Return the id of the shard with this number."""
    return f"shardId-{number:012d}"


@dataclass(frozen=True)
class Description:
    """What Kinesis says of a stream.

    Attributes:
        stream_id: tells the stream from any other, also from one made again under its name; 30 characters of
            letters, digits, `-`, `_` and a colon.
        retention_s: how long it keeps a record.
    """

    stream_id: str
    retention_s: float


@dataclass(frozen=True)
class Record:
    """One record of Kinesis, which may hold several of the Kinesis producer library's (see `unpack`).

    Attributes:
        sequence_number: below 2**186, ascending within a shard.
        arrived_ms: when Kinesis took it, milliseconds since 1970 UTC.
        key: the partition key.
        value: the data.
    """

    sequence_number: int
    arrived_ms: int
    key: str
    value: bytes


@dataclass(frozen=True)
class Answer:
    """One answer of `GetRecords`.

    Attributes:
        records: up to 10,000 or 10 MB; may be empty also where more follow.
        next_iterator: None at the end of a closed shard.
        behind_ms: how far this answer's end is from the shard's tip, in time.
    """

    records: list[Record]
    next_iterator: str | None
    behind_ms: int


class Stream:
    """A stream that is there, or will be said not to be. Safe to use from several threads.

    Every method raises:
        BrokerUnavailable: Kinesis is away or throttles; nothing was done, or (`put` alone) it isn't known.
        TopicNotFound: there is no such stream or shard.
        TerminalError: it refuses, such as for want of rights; ConfigError where the AWS settings are at fault.
    """

    def __init__(self, name: str, region: str, client: Any) -> None:
        """Wrap a client; `open_stream` makes one."""
        self.name = name
        self.region = region
        self._client = client

    def __str__(self) -> str:
        return f"kinesis://{self.region}/{self.name}"

    def describe(self) -> Description:
        """Return what Kinesis says of the stream."""
        with self._translated("describe"):
            said = self._client.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]
        made_ms = round(said["StreamCreationTimestamp"].timestamp() * 1000)
        digest = hashlib.sha256(f"{said['StreamARN']} {made_ms}".encode()).digest()[:16]
        name = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return Description(f"kinesis:{name}", said["RetentionPeriodHours"] * 3600.0)

    def shards(self) -> list[Shard]:
        """Return every shard that may still have records, closed ones too, by number."""
        found: list[Shard] = []
        where: dict[str, str] = {"StreamName": self.name}
        while True:
            with self._translated("list the shards of"):
                said = self._client.list_shards(**where)
            for shard in said["Shards"]:
                parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
                found.append(Shard(shard["ShardId"], tuple(filter(None, parents))))
            if not said.get("NextToken"):
                return sorted(found, key=lambda shard: shard.number)
            where = {"NextToken": said["NextToken"]}

    def iterator(self, shard_id: str, *, at: int | None = None, after: int | None = None) -> str:
        """Return an iterator that begins at or after a sequence number, or with the oldest record there is."""
        where: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if at is not None:
            where = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": str(at)}
        elif after is not None:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": str(after)}
        with self._translated(f"read {shard_id} of"):
            answer = self._client.get_shard_iterator(StreamName=self.name, ShardId=shard_id, **where)
        iterator: str = answer["ShardIterator"]
        return iterator

    def get(self, iterator: str, limit: int = 10_000) -> Answer:
        """Read from an iterator.

        Raises:
            IteratorExpired: it was made more than five minutes ago.
        """
        with self._translated("read"):
            said = self._client.get_records(ShardIterator=iterator, Limit=limit)
        records = [
            Record(
                int(record["SequenceNumber"]),
                round(record["ApproximateArrivalTimestamp"].timestamp() * 1000),
                record["PartitionKey"],
                record["Data"],
            )
            for record in said["Records"]
        ]
        return Answer(records, said.get("NextShardIterator"), said.get("MillisBehindLatest") or 0)

    def put(self, records: Sequence[tuple[str, bytes]]) -> list[str | None]:
        """Put keys and values; the limits above hold.

        Returns:
            Per record None, or the code of the error for which it, alone, was not taken.
        """
        entries = [{"PartitionKey": key, "Data": value} for key, value in records]
        with self._translated("put records into"):
            said = self._client.put_records(StreamName=self.name, Records=entries)
        return [answer.get("ErrorCode") for answer in said["Records"]]

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._of_client_error(error, what) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise ConfigError(
                f"no AWS credentials for {self}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give "
                f"the machine a role ({error})"
            ) from error
        except (NoConnection, HTTPClientError) as error:
            raise BrokerUnavailable(
                f"no answer from {self} ({_one_line(error)}): is AWS_ENDPOINT_URL right, and the network there?"
            ) from error
        except BotoCoreError as error:
            raise ConfigError(f"boto3 can't {what} {self}: {_one_line(error)}") from error

    def _of_client_error(self, error: ClientError, what: str) -> Exception:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        said = f"{code}: {error.response.get('Error', {}).get('Message', '')}".strip(": ")
        if code == "ExpiredIteratorException":
            return IteratorExpired(f"an iterator of {self} expired")
        if code in _PASSING or status >= 500:
            return BrokerUnavailable(f"Kinesis can't {what} {self} now ({said})")
        if code == "ResourceNotFoundException":
            return TopicNotFound(
                f"there is no {self} ({said}): make it with `aws kinesis create-stream --region {self.region} "
                f"--stream-name {self.name} --shard-count 4`, or check AWS_PROFILE and AWS_ENDPOINT_URL"
            )
        return TerminalError(f"Kinesis does not {what} {self} ({said})")


def open_stream(region: str, name: str) -> Stream:
    """Return a client of a stream, with credentials and endpoint as AWS's own tools find them. Asks nothing yet.

    Raises:
        ConfigError: a profile that isn't there, an endpoint or a region that can't be.
    """
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        max_pool_connections=_CONNECTIONS,
        retries={"total_max_attempts": 1},
    )
    try:
        client = boto3.session.Session().client("kinesis", region_name=region, config=config)
    except (BotoCoreError, ProfileNotFound, ValueError) as error:
        raise ConfigError(f"kinesis://{region}/{name} can't be opened: {_one_line(error)}") from error
    return Stream(name, region, client)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
