"""Records to Kinesis: all of them, in order for each key, within the limits, whatever is refused on the way."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing

import numpy as np
import pytest

from kinesis.client import MOST_BYTES, MOST_RECORD_BYTES, MOST_RECORDS
from producer.kinesis import KinesisSink
from producer.simulate import Block
from schemas.errors import BrokerUnavailable, ConfigError
from tests.kinesis.throttling import ThrottlingStream


def block(keys: list[bytes], values: list[bytes]) -> Block:
    return Block(keys, values, np.zeros(len(keys), np.uint8))


def numbered(count: int, users: int, first: int = 0) -> Block:
    numbers = range(first, first + count)
    return block([b"u%d" % (number % users) for number in numbers], [b"%d" % number for number in numbers])


def by_key(records: list[tuple[str, bytes]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for key, value in records:
        found[key].append(int(value))
    return found


@pytest.mark.parametrize(("refuse", "away"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.2, 0.2)])
@pytest.mark.parametrize("users", [3, 700])
def test_every_record_arrives_once_and_in_order_for_its_key(refuse: float, away: float, users: int) -> None:
    stream = ThrottlingStream(refuse, away)
    count = 40 * users if users < 10 else 6_000
    with closing(KinesisSink(stream)) as sink:
        for first in range(0, count, 1000):
            sink.write(numbered(min(1000, count - first), users, first))
        sink.flush()
    assert sorted(range(count)) == sorted(int(value) for _, value in stream.taken)
    assert all(numbers == sorted(numbers) for numbers in by_key(stream.taken).values())
    assert count == sink.acknowledged
    assert (sink.retried > 0) == (refuse + away > 0)


def test_calls_keep_kinesis_limits() -> None:
    stream = ThrottlingStream(0.0)
    with closing(KinesisSink(stream)) as sink:
        sink.write(numbered(5_000, 5_000))
        large = MOST_RECORD_BYTES - 10
        sink.write(block([b"k%d" % number for number in range(12)], [b"1" * large] * 12))
        sink.flush()
    assert max(stream.sizes) == MOST_RECORDS
    assert 5_012 == len(stream.taken) == sum(stream.sizes)
    assert stream.sizes[-1] * large <= MOST_BYTES


def test_a_slow_trickle_does_not_wait_for_a_full_call() -> None:
    stream = ThrottlingStream(0.0)
    with closing(KinesisSink(stream)) as sink:
        for number in range(50):
            sink.write(numbered(1, 1, number))
        assert stream.sizes, "nothing was sent before the flush"
        sink.flush()
    assert [b"%d" % number for number in range(50)] == [value for _, value in stream.taken]


def test_a_stream_that_refuses_for_ever_is_an_error_that_says_so() -> None:
    now = iter(range(0, 1_000_000, 50))
    with closing(KinesisSink(ThrottlingStream(1.0), clock=lambda: float(next(now)))) as sink:
        sink.write(numbered(3, 3))
        with pytest.raises(
            BrokerUnavailable, match=r"not acknowledged by the stream 'refusing' within 120 s .*add shards"
        ):
            sink.flush()


def test_a_record_that_kinesis_never_takes_is_refused_at_once() -> None:
    with (
        closing(KinesisSink(ThrottlingStream(0.0))) as sink,
        pytest.raises(ConfigError, match="1,048,576 with its key"),
    ):
        sink.write(block([b"u"], [b"x" * MOST_RECORD_BYTES]))
