"""A topic deleted and made again under its name is another topic: told apart by the broker's id, never mixed.

At the start of a worker the lake says which topics of the name it holds; while it runs, the broker is asked again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import duckdb
import pyarrow as pa
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from schemas.errors import TopicRecreated
from sink import positions
from sink.lake import Lake, store_trouble
from sink.positions import NO_TOPIC_ID, Source, topic_id_text
from sink.scan import connect, create_view
from stream_app.broker import NO_TOPIC_CODES, TIMEOUT_S, Topic, ask_patiently

_log = logging.getLogger(__name__)
_LOWS, _HIGHS = (["min.topic", "min.topic_id"], ["max.topic", "max.topic_id"])
_REMEDY: Final = (
    "Start with --accept-new-topic to read the new one from its beginning into the same lake, or use another --lake"
)


def require_known_topic(lake: Lake, topic: Topic, *, accept_new: bool) -> None:
    """Check that a topic is one that the lake has begun, or the first of its name.

    A topic that was accepted once stays the lake's, beside its predecessors: positions hold the topic's id.

    Args:
        lake: may not be there yet.
        topic: as the broker describes it now.
        accept_new: begin it, too, where the lake holds records of a former one.

    Raises:
        TopicRecreated: the lake holds records of another topic of this name, and nothing of this one was ever claimed.
        IncompatibleLake, StoreUnavailable: the lake can't be opened.
    """
    if not lake.exists("bronze") or not lake.exists("silver"):
        return
    silver = lake.table("silver")
    sources = (Source(topic.name, topic.topic_id, number) for number in topic.offsets)
    if any(positions.start(silver, source) is not None for source in sources):
        return
    former = ", ".join(sorted(_topic_ids(lake, topic.name)))
    if not former:
        return
    if not accept_new:
        raise TopicRecreated(
            f"the topic {topic.name!r} has id {topic.topic_id}, but {lake.uri} holds records of a topic of that name "
            f"with id {former}: it was deleted and made again, or --broker is another one. {_REMEDY}"
        )
    _log.warning("the topic %s was made again: reading id %s, beside %s", topic.name, topic.topic_id, former)


def _topic_ids(lake: Lake, name: str) -> set[str]:
    """Return the ids of all topics of this name with rows in bronze; from the log alone where no file mixes topics."""
    bronze = lake.table("bronze")
    statistics = pa.table(bronze.get_add_actions(flatten=True))
    if {*_LOWS, *_HIGHS} <= set(statistics.column_names):
        lows, highs = (statistics.select(names).rename_columns(["topic", "topic_id"]) for names in (_LOWS, _HIGHS))
        if lows.equals(highs) and not any(column.null_count for column in lows.columns):  # null: too long a name
            return {row["topic_id"] for row in lows.to_pylist() if row["topic"] == name}
    con = connect(lake)
    try:
        create_view(con, "bronze", bronze)
        rows = con.execute("select distinct topic_id from bronze where topic = $1", [name]).fetchall()
    except (duckdb.IOException, OSError) as error:
        raise store_trouble(lake.uri, error) from error
    finally:
        con.close()
    return {row[0] for row in rows}


class TopicWatch:
    """Knows whether the topic of a name is still the one that was inspected.

    A client must not be trusted with that: librdkafka (2.16) takes a topic that was deleted and made again for the same
    one and reads on at the old offset, without a word where the new topic already has it. A record is known to be of
    the inspected topic once the broker, asked after it was fetched, still tells that topic's id: ids never come back.
    """

    def __init__(self, client_options: Mapping[str, Any], topic: Topic) -> None:
        """Connect, where the topic has an id; where it has none, nothing is ever asked."""
        self._topic = topic
        self._admin = None
        if topic.topic_id != NO_TOPIC_ID:
            self._admin = AdminClient({**client_options, "log_level": 0})

    def require_same(self, should_give_up: Callable[[], bool]) -> None:
        """Ask the broker, waiting while it is away. A topic that is not there passes: who fetches is told of it.

        Safe to call from several threads.

        Args:
            should_give_up: asked after each try.

        Raises:
            TopicRecreated: the topic of that name is another one now.
            TerminalError: the broker refuses to say.
            BrokerUnavailable: given up.
        """
        admin, name = self._admin, self._topic.name
        if admin is None:
            return

        def ask() -> str | None:
            try:
                described = admin.describe_topics(TopicCollection([name]), request_timeout=TIMEOUT_S)[name].result()
            except KafkaException as error:
                if error.args[0].code() in NO_TOPIC_CODES:
                    return None
                raise
            return topic_id_text(described.topic_id)

        found = ask_patiently(ask, f"the id of {name}", should_give_up)
        if found not in (None, self._topic.topic_id):
            raise recreated(name, self._topic.topic_id, found)


def recreated(name: str, topic_id: str, found: str | None) -> TopicRecreated:
    """Return the error for a topic that got another id while it was read."""
    return TopicRecreated(
        f"the topic {name!r} was deleted and made again while it was read: it had id {topic_id} and has {found} now. "
        f"Nothing of the new one was written. {_REMEDY}"
    )
