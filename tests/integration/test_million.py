"""A million events with 2 % dirt through a real broker and two workers, one of them killed half-way and started again.

Two judges: `playlake verify`, which is ours, and a ledger of what was sent against plain pyarrow and DuckDB over the
files of the Delta log, which is not.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from audit.verify import verify
from producer.dirt import KINDS, Fate, event_id_of
from producer.kafka import KafkaSink
from producer.send import send
from producer.simulate import Block, Scenario, blocks
from sink.lake import Lake
from tests.broker import Broker
from tests.ledger import rows_in, table_rows
from tests.workers import Workers

pytestmark = pytest.mark.broker
MakeTopic = Callable[..., str]

EVENTS = 1_000_000
SCENARIO = Scenario(start_ms=1_795_000_000_000, seed=7, events=EVENTS, dirty=0.02)
KAFKA_PARTITIONS = 4


class Sent:
    """What was sent: a fingerprint of every value, and where each event id belongs."""

    def __init__(self) -> None:
        self.fingerprints: list[bytes] = []
        self.in_silver: list[str] = []
        self.by_fate = dict.fromkeys(Fate, 0)

    def noted(self, given: Iterator[Block]) -> Iterator[Block]:
        """Pass the blocks on, noting what is in them."""
        for block in given:
            for value, code in zip(block.values, block.kinds.tolist(), strict=True):
                self.fingerprints.append(fingerprint(value))
                self.by_fate[KINDS[code].fate] += 1
                event_id = event_id_of(value, code)
                if event_id is not None:
                    self.in_silver.append(event_id)
            yield block


def fingerprint(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=16).digest()


def sorted_fingerprints(found: list[bytes]) -> np.ndarray:
    return np.sort(np.frombuffer(b"".join(found), dtype="S16"))


def test_a_million_events_arrive_exactly_once_though_a_worker_is_killed(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, record_testsuite_property: Callable[..., None]
) -> None:
    name = topic(partitions=KAFKA_PARTITIONS)
    options = {"bootstrap.servers": broker.bootstrap}
    sent = Sent()
    small_flushes = ["--flush-bytes", "8MB", "--allowed-latency", "2s"]
    steady = workers.start(name, lake, *small_flushes, name="steady")
    victim = workers.start(name, lake, *small_flushes, name="victim")
    steady.until(lambda: len(steady.assigned) == len(victim.assigned) == 2, "they share the Kafka partitions")
    killed_at = []

    def kill_half_way(events: int) -> None:
        if not killed_at and events > EVENTS // 2 and rows_in(lake, "bronze") > EVENTS // 10:
            killed_at.append(rows_in(lake, "bronze"))
            victim.kill()

    send(sent.noted(blocks(SCENARIO)), KafkaSink(options, name), after_block=kill_half_way)
    assert killed_at, "the victim was killed while events came"
    again = workers.start(name, lake, *small_flushes, "--until-caught-up", name="victim-again")
    assert 0 == again.exit_code(90)
    assert 0 == steady.stop(signal.SIGTERM)
    last = workers.catch_up(name, lake, name="last")
    assert 0 == last.report["bronze"], "all was there before"

    verdict = verify(Lake.at(str(lake)), options)
    assert () == verdict.faults
    assert EVENTS == sum(totals.done_positions for totals in verdict.sources)

    assert EVENTS == len(sent.fingerprints)
    values = table_rows(lake, "bronze", ["value"])["value"].to_pylist()
    held = [fingerprint(value) for value in values]
    assert EVENTS == len(held)
    assert np.array_equal(sorted_fingerprints(sent.fingerprints), sorted_fingerprints(held)), "each once, byte for byte"

    con = duckdb.connect()
    con.execute("set threads = 2")
    for table, columns in {"bronze": [], "silver": ["event_id"], "quarantine": []}.items():
        con.register(table, table_rows(lake, table, ["kafka_partition", "kafka_offset", *columns]))
    con.register("sent", pa.table({"event_id": sent.in_silver}))

    def count(sql: str) -> int:
        [(answer,)] = con.execute(sql).fetchall()
        assert isinstance(answer, int)
        return answer

    con.execute(
        "create table fates as from silver select kafka_partition, kafka_offset "
        "union all from quarantine select kafka_partition, kafka_offset"
    )
    assert EVENTS == count("select count(*) from (select distinct kafka_partition, kafka_offset from bronze)")
    assert EVENTS == count("select count(*) from fates")
    assert 0 == count("select count(*) from (from bronze except from fates)")
    assert 0 == count("select count(*) from (from silver select event_id except from sent)")
    assert 0 == count("select count(*) from (from sent except from silver select event_id)")
    assert sent.by_fate[Fate.QUARANTINE] == count("select count(*) from quarantine")
    con.close()
    figures = {
        "sent": EVENTS,
        "in bronze when the worker was killed": killed_at[0],
        **{fate.value: number for fate, number in sent.by_fate.items()},
    }
    print(figures)
    record_testsuite_property("ledger of the million", str(figures))
