"""What a Kafka client fetched, as Arrow: by compiled code (kafka_records.c) where there is some, else by Python.

With the first a message never becomes a Python object; with the second each becomes one (records.py). The rows are the
same.
"""

from __future__ import annotations

import ctypes
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaError

from schemas.tables import RECORDS
from sink import positions
from stream_app.compiled import address, library_path, load
from stream_app.records import as_records, by_kafka_partition, timestamps, to_records

_NAME: Final = "kafka_records"
_ROWS: Final = 25_000
_LONGEST_REASON: Final = 512
_ATTACHED_AGAIN_S: Final = 0.2
_HEADERS: Final = RECORDS.field("headers").type


@dataclass(frozen=True)
class Taken:
    """What one call took.

    Attributes:
        records: Kafka partition and its records (schema `RECORDS`, at least one, offsets ascending), in the order in
            which they came; a Kafka partition may be there more than once.
        ends: Kafka partition and the offset that a next record would get.
        troubles: Kafka partition and what the client says of it.
    """

    records: list[tuple[int, pa.Table]]
    ends: list[tuple[int, int]]
    troubles: list[tuple[int, KafkaError]]


class Source(Protocol):
    """Where a client's records of one topic are taken from. For the one thread that polls it."""

    def attach(self, kafka_partition: int) -> None:
        """Expect records of a Kafka partition, before it is assigned."""

    def take(self, timeout_s: float) -> Taken:
        """Serve the client's callbacks and take what was fetched, or wait that long for more."""

    def close(self) -> None:
        """Let go of it, before the client is closed."""


def make_client(
    options: Mapping[str, Any],
    topic: str,
    topic_id: str,
    *,
    on_error: Callable[[KafkaError], None],
    compiled: bool = True,
    **more: Any,
) -> tuple[Consumer, Source]:
    """Return a client and the source of its records of a topic.

    Args:
        options: librdkafka's settings.
        topic: the one topic that it reads.
        topic_id: the broker's id of it.
        on_error: called by `Source.take` with what the client says of no record; what it raises, that raises. It takes
            the place of `error_cb`.
        compiled: use compiled code where there is some.
        more: as for `Consumer`.
    """
    library = load(_NAME) if compiled else None
    if library is None:
        client = Consumer({**options, "error_cb": on_error}, **more)
        return client, _Messages(client, topic_id)
    plugins = [options["plugin.library.paths"]] if "plugin.library.paths" in options else []
    plugins.append(str(library_path(_NAME)))
    client = Consumer({**options, "plugin.library.paths": ";".join(plugins), "error_cb": on_error}, **more)
    handle, queue = ctypes.c_void_p(), ctypes.c_void_p()
    library.kafka_records_open(ctypes.byref(handle), ctypes.byref(queue))
    if not queue:
        return client, _Messages(client, topic_id)
    return client, _Columns(library, handle, queue, client, topic, topic_id, on_error)


class _Messages:
    """By Python objects."""

    def __init__(self, client: Consumer, topic_id: str) -> None:
        self._client, self._topic_id = client, topic_id

    def attach(self, kafka_partition: int) -> None:
        pass

    def take(self, timeout_s: float) -> Taken:
        return of_messages(self._client.consume(_ROWS, timeout_s), self._topic_id)

    def close(self) -> None:
        pass


def of_messages(messages: list[Any], topic_id: str) -> Taken:
    """Return messages of one topic as `Taken`."""
    ends: list[tuple[int, int]] = []
    troubles: list[tuple[int, KafkaError]] = []
    sound = []
    for message in messages:
        if (error := message.error()) is None:
            sound.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            ends.append((message.partition(), message.offset()))
        else:
            troubles.append((message.partition(), error))
    now_us = time.time_ns() // 1000
    parts = by_kafka_partition(sound)
    return Taken([(part[0].partition(), to_records(part, topic_id, now_us)) for part in parts], ends, troubles)


class _Columns:
    """By compiled code, from a queue to which the Kafka partitions' messages go; callbacks stay with the client."""

    def __init__(
        self,
        library: ctypes.CDLL,
        handle: ctypes.c_void_p,
        queue: ctypes.c_void_p,
        client: Consumer,
        topic: str,
        topic_id: str,
        on_error: Callable[[KafkaError], None],
    ) -> None:
        self._library, self._handle, self._queue = library, handle, queue
        self._client, self._topic, self._topic_id = client, topic, topic_id
        self._on_error = on_error
        self._messages = np.empty(_ROWS, np.uint64)  # addresses
        self._partitions, self._errors = np.empty(_ROWS, np.int32), np.empty(_ROWS, np.int32)
        self._offsets = np.empty(_ROWS, np.int64)
        self._attached: set[int] = set()
        self._next_attached_s = 0.0
        library.kafka_records_take.restype = ctypes.c_int64

    def attach(self, kafka_partition: int) -> None:
        self._attached.add(kafka_partition)
        self._forward(kafka_partition)

    def _forward(self, kafka_partition: int) -> None:
        self._library.kafka_records_attach(self._handle, self._queue, self._topic.encode(), kafka_partition)

    def _attach_again(self) -> None:
        """Attach all Kafka partitions once more.

        librdkafka ends a former assignment in a thread of its own, and detaches the Kafka partition then, also one that
        was attached in the meantime: its messages would stay where nobody takes them.
        """
        now_s = time.monotonic()
        if now_s >= self._next_attached_s:
            self._next_attached_s = now_s + _ATTACHED_AGAIN_S
            for kafka_partition in self._attached:
                self._forward(kafka_partition)

    def take(self, timeout_s: float) -> Taken:
        self._attach_again()
        # Callbacks are served here; a message that comes is an error that concerns no Kafka partition.
        if (message := self._client.poll(0)) is not None:
            return of_messages([message], self._topic_id)
        taken = self._library.kafka_records_take(
            self._queue,
            int(timeout_s * 1000),
            address(self._messages),
            ctypes.c_int64(_ROWS),
            *(address(each) for each in (self._partitions, self._errors, self._offsets)),
        )
        count = max(taken, 0)  # -1: nothing came
        try:
            self._tell_errors()
            return self._taken(count) if count else Taken([], [], [])
        finally:
            self._library.kafka_records_let_go(address(self._messages), ctypes.c_int64(count))

    def _tell_errors(self) -> None:
        code, reason = ctypes.c_int32(), ctypes.create_string_buffer(_LONGEST_REASON)
        while self._library.kafka_records_error(ctypes.byref(code), reason, ctypes.c_size_t(_LONGEST_REASON)):
            self._on_error(KafkaError(code.value, reason.value.decode(errors="replace")))

    def _taken(self, count: int) -> Taken:
        now_us = time.time_ns() // 1000
        partitions, errors = self._partitions[:count], self._errors[:count]
        ends: list[tuple[int, int]] = []
        troubles: list[tuple[int, KafkaError]] = []
        for row in np.flatnonzero(errors).tolist():
            if errors[row] == KafkaError._PARTITION_EOF:
                ends.append((int(partitions[row]), int(self._offsets[row])))
            else:
                troubles.append((int(partitions[row]), KafkaError(int(errors[row]))))
        is_cut = (partitions[1:] != partitions[:-1]) | (errors[1:] != 0) | (errors[:-1] != 0)
        starts = np.concatenate(([0], np.flatnonzero(is_cut) + 1, [count])).tolist()
        records = [
            (int(partitions[start]), self._table(start, end, now_us))
            for start, end in itertools.pairwise(starts)
            if errors[start] == 0
        ]
        return Taken(records, ends, troubles)

    def _table(self, start: int, end: int, now_us: int) -> pa.Table:
        """Return the records of messages in a row, all of one Kafka partition."""
        rows, messages = ctypes.c_int64(end - start), address(self._messages[start:end])
        sizes = np.empty(5, np.int64)
        self._library.kafka_records_sizes(messages, rows, address(sizes))
        times = np.empty(end - start, np.int64)
        values, keys = (_Bytes(end - start, int(size), pa.binary()) for size in sizes[:2])
        self._library.kafka_records_fill(messages, rows, address(times), values.pointer(), keys.pointer())
        headers = self._headers(messages, end - start, *sizes[2:].tolist()) if sizes[2] else None
        return as_records(
            positions.Source(self._topic, self._topic_id, int(self._partitions[start])),
            self._offsets[start:end].copy(),
            timestamps(times),
            keys.array(),
            values.array(),
            headers,
            now_us,
        )

    def _headers(self, messages: ctypes.c_void_p, rows: int, count: int, names_size: int, values_size: int) -> pa.Array:
        names, values = _Bytes(count, names_size, pa.string()), _Bytes(count, values_size, pa.binary())
        lists = _Bytes(rows, 0, pa.binary())
        pointers = (each.pointer() for each in (lists, names, values))
        self._library.kafka_records_fill_headers(messages, ctypes.c_int64(rows), *pointers)
        pairs = pa.StructArray.from_arrays(
            [as_text(names.array()), values.array()], fields=[_HEADERS.key_field, _HEADERS.item_field]
        )
        buffers = [pa.py_buffer(lists.valid), pa.py_buffer(lists.ends)]
        return pa.Array.from_buffers(_HEADERS, rows, buffers, children=[pairs])

    def close(self) -> None:
        self._library.kafka_records_close(self._queue)


class _Bytes:
    """An Arrow array that C fills (`Bytes` there)."""

    def __init__(self, rows: int, size: int, type_: pa.DataType) -> None:
        if size > np.iinfo(np.int32).max:
            raise AssertionError(f"{size} bytes in one fetch of one Kafka partition")
        self._rows, self._type = rows, type_
        self.valid, self.ends = np.zeros((rows + 7) // 8, np.uint8), np.zeros(rows + 1, np.int32)
        self._data = pa.allocate_buffer(size)
        self._places = (ctypes.c_void_p * 3)(*(address(each).value for each in (self.valid, self.ends, self._data)))

    def pointer(self) -> Any:
        """Return what C wants."""
        return ctypes.byref(self._places)

    def array(self) -> pa.Array:
        """Return the array, filled."""
        ends = pa.py_buffer(self.ends)
        array = pa.Array.from_buffers(self._type, self._rows, [pa.py_buffer(self.valid), ends, self._data])
        return array if array.null_count else pa.Array.from_buffers(self._type, self._rows, [None, ends, self._data], 0)


def as_text(names: pa.StringArray) -> pa.StringArray:
    """Return names with what is no UTF-8 replaced."""
    try:
        names.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array([name.decode(errors="replace") for name in names.view(pa.binary()).to_pylist()], pa.string())
    return names
