"""Where a worker's records come from: what the worker asks of a broker, whichever it is.

Positions look the same for all: a topic, told apart by an id that no later topic gets; numbered parts of it (Kafka
partitions, or shards of a Kinesis stream); and offsets in each, ascending by one record each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from faust.types import TP

from sink import positions
from sink.lake import Lake
from sink.positions import Source
from stream_app.batches import PositionKeeper
from stream_app.broker import Topic
from stream_app.generations import TopicWatch, require_known_topic
from stream_app.transport import Consumer, Transport


class Origin(Protocol):
    """A topic of some broker. Every method may block; none is called on the app's loop but `make_transport`."""

    @property
    def topic(self) -> str:
        """Its name."""

    @property
    def topic_id(self) -> str:
        """What no other topic has, also not a later one of its name."""

    def require_known(self, lake: Lake, *, accept_new: bool) -> None:
        """Raise `TopicRecreated` if the lake holds another topic of this name and nothing of this one."""

    def require_same(self, should_give_up: Callable[[], bool]) -> None:
        """Raise `TopicRecreated` if the topic of this name is another one now. Safe from several threads."""

    def before_flush(self, should_give_up: Callable[[], bool]) -> None:
        """Raise where nothing may be written: as `require_same`, or because what must come first can't be."""

    def make_transport(self, app: Any, keeper: PositionKeeper) -> Any:
        """Return a Faust transport whose consumer is a `BatchConsumer`."""

    def has_reached_ends(self, consumer: Any, ends: Mapping[TP, tuple[int, int]]) -> bool:
        """Return whether all that this worker reads was fetched up to the ends at its start. On the app's loop.

        Args:
            consumer: of the transport.
            ends: what `PositionKeeper.reached_end` said last.
        """

    def have_others_read(self, consumer: Any, lake: Lake) -> bool:
        """Return whether what others read of the topic is in the lake, up to the ends at this worker's start."""


class KafkaOrigin:
    """A topic of Kafka, shared by the workers of a group."""

    def __init__(self, client_options: Mapping[str, Any], topic: Topic) -> None:
        """Connect.

        Args:
            client_options: librdkafka's settings, `bootstrap.servers` among them.
            topic: as the broker described it just now; its end offsets are where `until_caught_up` stops.
        """
        self._client_options = client_options
        self._described = topic
        self._watch = TopicWatch(client_options, topic)
        self.topic = topic.name
        self.topic_id = topic.topic_id
        self.require_same = self.before_flush = self._watch.require_same

    def require_known(self, lake: Lake, *, accept_new: bool) -> None:
        """See `require_known_topic`."""
        require_known_topic(lake, self._described, accept_new=accept_new)

    def make_transport(self, app: Any, keeper: PositionKeeper) -> Transport:
        """Return the transport on librdkafka."""
        return Transport(
            app,
            client_options=self._client_options,
            topic_ids={self.topic: self.topic_id},
            keeper=keeper,
            require_same_topics=self.require_same,
        )

    def has_reached_ends(self, consumer: Consumer, ends: Mapping[TP, tuple[int, int]]) -> bool:
        """Return whether each assigned Kafka partition was read to the offset that ended it at the start."""
        for tp in consumer.assignment():
            low, high = self._described.offsets[tp.partition]
            end, _ = ends.get(tp, (-1, -1))
            if end < high and high > low:
                return False
        return True

    def have_others_read(self, consumer: Consumer, lake: Lake) -> bool:
        """Return whether the lake, or what the group committed, says so of each Kafka partition of other workers."""
        ours: Collection[TP] = consumer.assignment()
        wanted = {
            number: high
            for number, (low, high) in self._described.offsets.items()
            if high > low and TP(self.topic, number) not in ours
        }
        if not wanted:
            return True
        silver = lake.table("silver")
        committed = consumer.committed_offsets(self.topic, wanted)
        for number, high in wanted.items():
            done = positions.position(silver, Source(self.topic, self.topic_id, number))
            if (done is None or done < high - 1) and committed.get(number, -1) < high:
                return False
        return True
