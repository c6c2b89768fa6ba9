"""Which topics of a name a lake knows, and what a worker that starts with another one is told."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from schemas.errors import TopicRecreated
from sink.lake import Lake
from sink.positions import Source, names_apart
from sink.writer import LakeWriter
from stream_app.broker import Topic
from stream_app.generations import require_known_topic
from tests.records import TOPIC, TOPIC_ID, event_bytes, processed, records

OTHER_ID = "BBBBBBBBBBBBBBBBBBBBBB"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


def topic(topic_id: str, name: str = TOPIC) -> Topic:
    return Topic(name, topic_id, {0: (0, 10), 1: (0, 10)})


def named(rows: pa.Table, name: str) -> pa.Table:
    index = rows.schema.get_field_index("topic")
    return rows.set_column(index, rows.schema.field(index), pa.array([name] * rows.num_rows, pa.string()))


def fill(lake: Lake, *names_and_ids: tuple[str, str]) -> None:
    """Write a record of each of these topics, all in one flush."""
    writer = LakeWriter(lake)
    writer.claim({Source(name, topic_id, 1): 0 for name, topic_id in names_and_ids})
    for name, topic_id in names_and_ids:
        writer.add(*(named(rows, name) for rows in processed(records([event_bytes(0)], 0, 1, topic_id))))
    writer.flush()


def test_a_lake_that_is_not_there_takes_any_topic(lake: Lake) -> None:
    require_known_topic(lake, topic(TOPIC_ID), accept_new=False)


def test_another_topic_of_the_name_is_refused_with_both_ids_and_what_to_do(lake: Lake) -> None:
    fill(lake, (TOPIC, TOPIC_ID))
    require_known_topic(lake, topic(TOPIC_ID), accept_new=False)
    with pytest.raises(TopicRecreated, match=rf"{OTHER_ID}.* with id {TOPIC_ID}: .*--accept-new-topic.*--lake"):
        require_known_topic(lake, topic(OTHER_ID), accept_new=False)


def test_a_topic_that_was_accepted_once_needs_no_flag_again(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    fill(lake, (TOPIC, TOPIC_ID))
    require_known_topic(lake, topic(OTHER_ID), accept_new=True)
    assert f"reading id {OTHER_ID}, beside {TOPIC_ID}" in caplog.text
    LakeWriter(lake).claim({Source(TOPIC, OTHER_ID, 0): 0})
    require_known_topic(lake, topic(OTHER_ID), accept_new=False)
    require_known_topic(lake, topic(TOPIC_ID), accept_new=False)


def test_files_that_mix_topics_are_looked_into(lake: Lake) -> None:
    fill(
        lake,
        ("a", "CCCCCCCCCCCCCCCCCCCCCC"),
        ("b", OTHER_ID),
        ("b", "DDDDDDDDDDDDDDDDDDDDDD"),
        ("c", "AAAAAAAAAAAAAAAAAAAAAA"),
    )
    with pytest.raises(TopicRecreated, match="with id BBBBBBBBBBBBBBBBBBBBBB, DDDDDDDDDDDDDDDDDDDDDD: "):
        require_known_topic(lake, topic("ZZZZZZZZZZZZZZZZZZZZZZ", "b"), accept_new=False)
    require_known_topic(lake, topic(TOPIC_ID, "bb"), accept_new=False)


def test_names_longer_than_the_log_keeps_are_looked_up_in_the_files(lake: Lake) -> None:
    name = "a" * 70
    fill(lake, (name, TOPIC_ID))
    with pytest.raises(TopicRecreated, match=f"with id {TOPIC_ID}: "):
        require_known_topic(lake, topic(OTHER_ID, name), accept_new=False)
    require_known_topic(lake, topic(OTHER_ID, "a" * 69), accept_new=False)


def test_a_topic_claimed_without_a_record_hinders_no_other(lake: Lake) -> None:
    LakeWriter(lake).claim({Source(TOPIC, TOPIC_ID, 0): 0})
    require_known_topic(lake, topic(OTHER_ID), accept_new=False)


def test_sources_of_two_topics_of_one_name_are_called_by_their_ids() -> None:
    first, second, other = Source("a", TOPIC_ID, 3), Source("a", OTHER_ID, 3), Source("b", TOPIC_ID, 3)
    assert {first: "a[3]", other: "b[3]"} == names_apart([first, other])
    assert [f"a[3] of {TOPIC_ID}", f"a[3] of {OTHER_ID}", "b[3]"] == list(names_apart([first, second, other]).values())
