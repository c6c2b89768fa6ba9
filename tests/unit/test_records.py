"""Messages as Arrow: every byte, time and header as it came."""

import datetime as dt

from confluent_kafka import Message

from stream_app.records import FETCHED, by_kafka_partition, to_records


def message(offset, value, key=b"k", timestamp_ms=1_700_000_000_123, headers=None, kafka_partition=3):
    return Message(
        topic="playback",
        partition=kafka_partition,
        offset=offset,
        value=value,
        key=key,
        timestamp=(1, timestamp_ms),
        headers=headers,
    )


def test_messages_become_rows_in_their_order():
    headers = [("trace", b"1"), ("trace", None), ("x", b"\xff")]
    table = to_records([message(7, b"\xff\x00"), message(9, None, key=None, headers=headers)], "id", 5_000_000)
    assert FETCHED == table.schema
    ingested = dt.datetime(1970, 1, 1, 0, 0, 5, tzinfo=dt.UTC)
    sent = dt.datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=dt.UTC)
    assert [
        ("playback", "id", 3, 7, sent, b"k", b"\xff\x00", None, ingested),
        ("playback", "id", 3, 9, sent, None, None, headers, ingested),
    ] == [tuple(row.values()) for row in table.to_pylist()]


def test_a_record_without_a_time_or_with_one_that_no_calendar_has_has_none():
    times_ms = [-1, 0, 253_402_300_799_999, 253_402_300_800_000, 2**63 - 1]
    table = to_records([message(offset, b"", timestamp_ms=ms) for offset, ms in enumerate(times_ms)], "-", 0)
    assert [None, 1970, 9999, None, None] == [at and at.year for at in table["broker_timestamp"].to_pylist()]


def test_messages_are_cut_where_the_kafka_partition_changes():
    fetched = [message(offset, b"", kafka_partition=number) for number, offset in ((0, 5), (0, 6), (2, 0), (0, 7))]
    assert [[(0, 5), (0, 6)], [(2, 0)], [(0, 7)]] == [
        [(each.partition(), each.offset()) for each in part] for part in by_kafka_partition(fetched)
    ]
    assert [] == by_kafka_partition([])
