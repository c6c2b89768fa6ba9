"""Records taken by compiled code are those that Python takes, whatever is in them and whatever the client does."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from stream_app.kafka_records import Source, Taken, _Columns, as_text, make_client
from stream_app.records import FETCHED
from tests.broker import wait_until
from tests.records import NOW

TOPIC = "taken"
PARTITIONS = 3
VALUES = [b"v", b"", None, b"\xff\x00", b"x" * 90_000]
KEYS = [b"k", None, b""]
HEADERS = [None, None, [("trace", b"1"), ("trace", None), ("ü", b"\xff")], [("empty", b"")]]
TIMES_MS = [1, 1_700_000_000_123, 253_402_300_800_000]


@pytest.fixture
def sent(built_in_broker: str) -> Callable[[int], str]:
    """Sends so many records to each Kafka partition; returns the broker's address."""
    producer = Producer(
        {"bootstrap.servers": built_in_broker, "test.mock.num.brokers": 0, "message.max.bytes": 2 << 20}
    )

    def send(count: int) -> str:
        for row, number in itertools.product(range(count), range(PARTITIONS)):
            at = row + number
            producer.produce(
                TOPIC,
                VALUES[at % len(VALUES)],
                KEYS[at % len(KEYS)],
                number,
                timestamp=TIMES_MS[at % len(TIMES_MS)],
                headers=HEADERS[at % len(HEADERS)],
            )
            producer.poll(0)
        assert 0 == producer.flush(20)
        return built_in_broker

    return send


@contextmanager
def reading(address: str, offset: int = 0, *, compiled: bool = True) -> Iterator[tuple[Consumer, Source]]:
    options: dict[str, Any] = {
        "bootstrap.servers": address,
        "group.id": "reads",
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "log_level": 0,
    }
    client, source = make_client(options, TOPIC, "id", on_error=unexpected, compiled=compiled)
    for number in range(PARTITIONS):
        source.attach(number)
    client.assign([TopicPartition(TOPIC, number, offset) for number in range(PARTITIONS)])
    try:
        yield client, source
    finally:
        source.close()
        client.close()


def unexpected(error: KafkaError) -> None:
    raise AssertionError(error)


def until_the_end(source: Source) -> Taken:
    found = Taken([], [], [])

    def is_over() -> bool:
        taken = source.take(0.1)
        for known, new in zip(vars(found).values(), vars(taken).values(), strict=True):
            known += new
        return len(found.ends) + len(found.troubles) >= PARTITIONS

    wait_until(is_over, "all Kafka partitions were read to their ends", 20)
    return found


def rows(taken: Taken) -> list[list[dict[str, Any]]]:
    """Each Kafka partition's rows, without the moment at which they were taken."""
    assert all(table.schema == FETCHED for _, table in taken.records)
    for _, table in taken.records:
        table.validate(full=True)
    tables = [
        pa.concat_tables([FETCHED.empty_table(), *(table for other, table in taken.records if other == number)])
        for number in range(PARTITIONS)
    ]
    return [table.drop_columns(["ingest_timestamp"]).to_pylist() for table in tables]


def test_rows_are_the_same_by_compiled_code_and_by_python(sent: Callable[[int], str]) -> None:
    address = sent(60)
    with reading(address) as (_, fast), reading(address, compiled=False) as (_, slow):
        assert type(fast) is not type(slow)
        found, expected = until_the_end(fast), until_the_end(slow)
    assert [] == found.troubles == expected.troubles
    assert rows(expected) == rows(found)
    assert [list(range(60))] * PARTITIONS == [[row["kafka_offset"] for row in part] for part in rows(found)]
    assert [(number, 60) for number in range(PARTITIONS)] == sorted(found.ends) == sorted(expected.ends)
    values = {row["value"] for part in rows(found) for row in part}
    assert {*VALUES} == values
    assert {"trace", "ü", "empty"} == {name for part in rows(found) for row in part for name, _ in row["headers"] or []}


def test_an_ingest_time_is_now(sent: Callable[[int], str]) -> None:
    with reading(sent(1)) as (_, source):
        taken = until_the_end(source)
    assert all(table["ingest_timestamp"][0].as_py() > NOW for _, table in taken.records)


def test_more_than_one_call_takes(sent: Callable[[int], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_app.kafka_records._ROWS", 7)
    with reading(sent(40)) as (_, source):
        taken = until_the_end(source)
    assert len(taken.records) > PARTITIONS
    assert [list(range(40))] * PARTITIONS == [[row["kafka_offset"] for row in part] for part in rows(taken)]


@pytest.mark.parametrize("compiled", [True, False])
def test_an_offset_that_the_topic_does_not_have_is_trouble(sent: Callable[[int], str], compiled: bool) -> None:
    with reading(sent(2), 1000, compiled=compiled) as (_, source):
        taken = until_the_end(source)
    assert [] == taken.records
    assert {0, 1, 2} == {number for number, _ in taken.troubles}
    assert {KafkaError._AUTO_OFFSET_RESET} == {error.code() for _, error in taken.troubles}


def test_what_was_fetched_before_a_seek_is_not_taken(sent: Callable[[int], str]) -> None:
    address = sent(30)
    with reading(address) as (client, source):
        until_the_end(source)
        for number in range(PARTITIONS):
            client.seek(TopicPartition(TOPIC, number, 10))
        sent(5)
        assert [list(range(10, 35))] * PARTITIONS == [
            [row["kafka_offset"] for row in part] for part in rows(until_the_end(source))
        ]


def test_a_kafka_partition_that_goes_and_comes_back_is_read_from_where_it_is_assigned(
    sent: Callable[[int], str],
) -> None:
    with reading(sent(30)) as (client, source):
        until_the_end(source)
        for _ in range(2):
            client.unassign()
            for number in range(PARTITIONS):
                source.attach(number)
            client.assign([TopicPartition(TOPIC, number, 20) for number in range(PARTITIONS)])
            assert [list(range(20, 30))] * PARTITIONS == [
                [row["kafka_offset"] for row in part] for part in rows(until_the_end(source))
            ]


def test_a_kafka_partition_that_the_client_detached_late_is_read_all_the_same(sent: Callable[[int], str]) -> None:
    with reading(sent(30)) as (_, source):
        assert isinstance(source, _Columns)
        for number in range(PARTITIONS):  # what librdkafka does when it ends a former assignment
            source._library.kafka_records_attach(source._handle, None, TOPIC.encode(), number)
        taken = until_the_end(source)
    assert [list(range(30))] * PARTITIONS == [[row["kafka_offset"] for row in part] for part in rows(taken)]


def test_a_paused_kafka_partition_gives_nothing_and_then_goes_on(sent: Callable[[int], str]) -> None:
    address = sent(3)
    with reading(address) as (client, source):
        until_the_end(source)
        parts = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        client.pause(parts)
        sent(2)
        assert [] == [taken for _ in range(5) if (taken := source.take(0.1)).records]
        client.resume(parts)
        assert [[3, 4]] * PARTITIONS == [[row["kafka_offset"] for row in part] for part in rows(until_the_end(source))]


def test_records_of_a_kafka_partition_that_was_not_attached_come_all_the_same(sent: Callable[[int], str]) -> None:
    options = {"bootstrap.servers": sent(3), "group.id": "g", "enable.partition.eof": True}
    client, source = make_client(options, TOPIC, "id", on_error=unexpected)
    client.assign([TopicPartition(TOPIC, number, 0) for number in range(PARTITIONS)])
    taken = until_the_end(source)
    assert [[0, 1, 2]] * PARTITIONS == [[row["kafka_offset"] for row in part] for part in rows(taken)]
    source.close()
    client.close()


@pytest.mark.parametrize("compiled", [True, False])
def test_errors_of_the_client_are_told(compiled: bool) -> None:
    told: list[KafkaError] = []
    options = {"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0}
    client, source = make_client(options, TOPIC, "id", on_error=told.append, compiled=compiled)
    client.assign([TopicPartition(TOPIC, 0, 0)])
    wait_until(lambda: bool(source.take(0.1).records) or len(told) >= 2, "both are told", 20)
    assert {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN} == {error.code() for error in told}
    assert any("127.0.0.1:1" in error.str() for error in told)
    source.close()
    client.close()


def test_what_is_raised_of_an_error_comes_through() -> None:
    options = {"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0}
    client, source = make_client(options, TOPIC, "id", on_error=unexpected)
    client.assign([TopicPartition(TOPIC, 0, 0)])
    with pytest.raises(AssertionError, match=r"127\.0\.0\.1:1"):
        wait_until(lambda: bool(source.take(0.1).records), "never", 20)
    source.close()
    client.close()


def test_names_of_headers_that_are_no_text_are_made_some() -> None:
    names = pa.array([b"a", b"\xff", b"\xc3\xbc"], pa.binary()).view(pa.string())
    assert ["a", "\ufffd", "ü"] == as_text(names).to_pylist()
