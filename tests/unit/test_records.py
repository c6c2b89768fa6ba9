"""Messages as Arrow: every byte, time and header as it came."""

import datetime as dt

from schemas.tables import RECORDS
from stream_app.records import to_records


class Message:
    """What `to_records` asks of a confluent-kafka message."""

    def __init__(self, offset, value, key=b"k", timestamp_ms=1_700_000_000_123, headers=None):
        self._fields = (offset, value, key, timestamp_ms, headers)

    def topic(self):
        return "playback"

    def partition(self):
        return 3

    def offset(self):
        return self._fields[0]

    def value(self):
        return self._fields[1]

    def key(self):
        return self._fields[2]

    def timestamp(self):
        return (1, self._fields[3])

    def headers(self):
        return self._fields[4]


def test_messages_become_rows_in_their_order():
    headers = [("trace", b"1"), ("trace", None), ("x", b"\xff")]
    table = to_records([Message(7, b"\xff\x00"), Message(9, None, key=None, headers=headers)], "id", 5_000_000)
    assert RECORDS == table.schema
    ingested = dt.datetime(1970, 1, 1, 0, 0, 5, tzinfo=dt.UTC)
    sent = dt.datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=dt.UTC)
    assert [
        ("playback", "id", 3, 7, sent, b"k", b"\xff\x00", None, ingested),
        ("playback", "id", 3, 9, sent, None, None, headers, ingested),
    ] == [tuple(row.values()) for row in table.to_pylist()]


def test_a_record_without_a_time_has_none():
    table = to_records([Message(0, b"", timestamp_ms=-1), Message(1, b"")], "-", 0)
    assert [True, False] == table["broker_timestamp"].is_null().to_pylist()
