"""A stream of Kinesis as a worker's origin of records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from faust.types import TP

from kinesis import Stream
from schemas.errors import BrokerUnavailable, TopicNotFound
from sink.lake import Lake
from sink.shards import begun
from stream_app.batches import PositionKeeper
from stream_app.broker import Topic
from stream_app.generations import recreated, require_known_topic
from stream_app.kinesis_transport import NOTE_IDLE_MS, Consumer, Share, Transport
from stream_app.patience import Patience


class KinesisOrigin:
    """A stream of Kinesis, its shards shared among workers by static shares."""

    def __init__(
        self, stream: Stream, topic_id: str, share: Share, lake: Lake, *, note_idle_ms: int = NOTE_IDLE_MS
    ) -> None:
        """Read a stream into a lake.

        Args:
            stream: where it is.
            topic_id: as the stream described itself just now.
            share: which of its shards to read.
            lake: whose silver table says how far shards are.
            note_idle_ms: how often the lake is told that an idle shard is read.
        """
        self._stream = stream
        self._share = share
        self._lake = lake
        self._note_idle_ms = note_idle_ms
        self.topic = stream.name
        self.topic_id = topic_id

    def require_known(self, lake: Lake, *, accept_new: bool) -> None:
        """Raise `TopicRecreated` if the lake holds another stream of this name and nothing of this one."""
        if lake.exists("silver") and begun(lake.table("silver"), self.topic, self.topic_id) is not None:
            return
        require_known_topic(lake, Topic(self.topic, self.topic_id, {}), accept_new=accept_new)

    def require_same(self, should_give_up: Callable[[], bool]) -> None:
        """Ask Kinesis, waiting while it is away. A stream that is not there passes: who reads is told of it.

        Args:
            should_give_up: asked after each try.

        Raises:
            TopicRecreated: the stream of that name is another one now.
            TerminalError: Kinesis refuses to say.
            BrokerUnavailable: given up.
        """
        give_up = threading.Event()

        def describe() -> str | None:
            try:
                return self._stream.describe().stream_id
            except TopicNotFound:
                return None
            except BrokerUnavailable:
                if should_give_up():
                    give_up.set()
                raise

        found = Patience(give_up, BrokerUnavailable, "Kinesis")(describe)
        if found not in (None, self.topic_id):
            raise recreated(self.topic, self.topic_id, found)

    def before_flush(self, should_give_up: Callable[[], bool]) -> None:
        """See `require_same`."""
        self.require_same(should_give_up)

    def make_transport(self, app: Any, keeper: PositionKeeper) -> Transport:
        """Return the transport on boto3."""
        return Transport(
            app,
            stream=self._stream,
            topic_id=self.topic_id,
            share=self._share,
            lake=self._lake,
            keeper=keeper,
            require_same=self.require_same,
            note_idle_ms=self._note_idle_ms,
        )

    def has_reached_ends(self, consumer: Consumer, ends: Mapping[TP, tuple[int, int]]) -> bool:
        """Return whether each shard of our share was read as far as there was something at the start."""
        return consumer.has_reached_ends(ends)

    def have_others_read(self, consumer: Consumer, lake: Lake) -> bool:
        """Answer yes: shares are static, and another worker's is its own affair."""
        return True
