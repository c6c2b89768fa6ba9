"""The parts of Faust's transport that only tables, changelogs and sending ask for, which a playlake worker has none of.

Kept apart so that `stream_app.transport` shows only what a worker does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.producer import Producer as FaustProducer
from faust.types import TP


class TablelessConsumer(FaustConsumer):
    """Faust's consumer for an app without tables: what only they ask is answered with nothing."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Answer nothing: positions come from the lake, on assignment."""
        return {}

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Do nothing: only tables seek."""

    async def _seek(self, partition: TP, offset: int) -> None: ...

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Do nothing: only tables seek."""

    async def position(self, tp: TP) -> int | None:
        """Answer nothing: only tables ask."""
        return None

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Answer nothing: only tables ask."""
        return {}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Answer nothing: only tables ask."""
        return {}

    def topic_partitions(self, topic: str) -> int | None:
        """Answer nothing: only tables ask."""
        return None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Answer nothing: only tables ask."""
        return None

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """Do nothing: a worker makes no topic."""

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)


class SilentProducer(FaustProducer):
    """Faust wants one; a playlake worker sends nothing through Faust."""

    async def on_start(self) -> None:
        """Do nothing."""

    async def on_stop(self) -> None:
        """Do nothing."""

    async def flush(self) -> None:
        """Do nothing."""

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """Do nothing."""

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Refuse: nothing is sent through Faust."""
        raise NotImplementedError("a playlake worker sends nothing through Faust")
