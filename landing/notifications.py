"""An SQS queue that S3 tells of new objects: straight, by way of SNS, or by way of EventBridge.

A message is let go only once what it tells of is in the lake. SQS gives it again after a while otherwise, and may give
any message twice: the ledger knows what was taken.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

from landing import aws
from landing.place import Bucket, Place
from schemas.errors import ConfigError

_WAIT_S: Final = 2
_AT_ONCE: Final = 10
_MOST: Final = 1000
_ADDRESS: Final = re.compile(r"sqs://([a-z0-9-]+)/([A-Za-z0-9_.-]{1,80})/?")
_CREATED: Final = ("ObjectCreated:", "s3:ObjectCreated:")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """A message.

    Attributes:
        receipt: with which it is let go.
        paths: files below the place that it says were made; none where it tells of something else.
    """

    receipt: str
    paths: tuple[str, ...]


class Queue:
    """A queue of notifications for one place. Methods raise as those of `Place`."""

    def __init__(self, name: str, place: Bucket, client: Any) -> None:
        """Wrap a client of SQS; nothing is asked yet."""
        self._name = name
        self._place = place
        self._client = client
        self._found_url: str | None = None

    @property
    def _url(self) -> str:
        if self._found_url is None:
            with aws.errors(f"the queue {self._name}", "find"):
                self._found_url = self._client.get_queue_url(QueueName=self._name)["QueueUrl"]
        return self._found_url

    def require(self) -> None:
        """Raise unless the queue is there."""
        self._found_url = self._url

    def receive(self) -> list[Told]:
        """Return some messages that wait, up to a thousand; none after two seconds without any."""
        told: list[Told] = []
        while len(told) < _MOST:
            with aws.errors(f"the queue {self._name}", "read"):
                answer = self._client.receive_message(
                    QueueUrl=self._url, MaxNumberOfMessages=_AT_ONCE, WaitTimeSeconds=0 if told else _WAIT_S
                )
            messages = answer.get("Messages", [])
            if not messages:
                break
            told += [Told(message["ReceiptHandle"], self._paths(message["Body"])) for message in messages]
        return told

    def forget(self, told: Sequence[Told]) -> None:
        """Let messages go."""
        for start in range(0, len(told), _AT_ONCE):
            entries = [
                {"Id": str(number), "ReceiptHandle": each.receipt}
                for number, each in enumerate(told[start : start + _AT_ONCE])
            ]
            with aws.errors(f"the queue {self._name}", "delete messages of"):
                self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)

    def _paths(self, body: str) -> tuple[str, ...]:
        try:
            keys = list(created(json.loads(body), self._place.bucket))
        except (ValueError, KeyError, TypeError, AttributeError):
            _log.warning("the queue %s gave a message that is no notification of S3; it is let go", self._name)
            return ()
        prefix = self._place.prefix
        return tuple(key.removeprefix(prefix) for key in keys if key.startswith(prefix))


def created(message: Any, bucket: str) -> Iterator[str]:
    """Yield the keys that a message says were made in a bucket.

    Args:
        message: S3's own, SNS's around it, or EventBridge's (S3's user guide, "Event message structure").
        bucket: whose keys.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none of these.
    """
    if "Message" in message and "TopicArn" in message:
        yield from created(json.loads(message["Message"]), bucket)
    elif message.get("Event") == "s3:TestEvent":
        return
    elif "detail" in message:
        if message["detail-type"] == "Object Created" and message["detail"]["bucket"]["name"] == bucket:
            yield message["detail"]["object"]["key"]
    else:
        for record in message["Records"]:
            if record["eventName"].startswith(_CREATED) and record["s3"]["bucket"]["name"] == bucket:
                yield unquote_plus(record["s3"]["object"]["key"])


def open_queue(address: str, place: Place) -> Queue:
    """Return the queue at `sqs://REGION/QUEUE` for a place. Asks nothing yet.

    Raises:
        ConfigError: not of this form, or the place is no bucket.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"--notifications {address!r} is no queue's address: write sqs://REGION/QUEUE")
    if not isinstance(place, Bucket):
        raise ConfigError(f"--notifications tells of objects in a bucket, and {place.uri} is a folder: leave it out")
    return Queue(match[2], place, aws.client("sqs", match[1]))
