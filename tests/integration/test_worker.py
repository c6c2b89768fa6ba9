"""A worker or two on a real Kafka: they start, stop, join, leave, sleep; odd records, odd topics, a broker away."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.verify import verify
from sink.lake import Lake
from tests.broker import Broker
from tests.ledger import Ledger, events, rows_in, table_rows
from tests.records import event_bytes
from tests.workers import Workers

pytestmark = pytest.mark.broker
MakeTopic = Callable[..., str]

HOLDS_BACK = ("--allowed-latency", "60s", "--flush-bytes", "1MB")
"""Flush a backlog at once and then nothing small for a minute."""


def the_promise_holds(lake: Path, broker: Broker) -> None:
    """The same as the ledger says, in the words of `playlake verify`."""
    assert () == verify(Lake.at(str(lake)), {"bootstrap.servers": broker.bootstrap}).faults


def test_a_stopped_worker_flushes_what_it_read_and_the_next_reads_nothing_twice(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic())
    taken = 0
    for number in (signal.SIGTERM, signal.SIGINT):  # SIGINT is what Ctrl-C sends
        ledger.send(events(8000, first=len(ledger)))
        worker = workers.start(ledger.topic, lake, *HOLDS_BACK, name=f"stopped by {number.name}")
        worker.wait_for(" flushed ")
        assert [taken] == worker.claims(0)
        with ledger.trickle(first=1_000_000 + len(ledger)):
            enough = len(ledger) + 300
            worker.until(lambda enough=enough: len(ledger) >= enough, "some more were sent, and read")
            before = rows_in(lake, "bronze")
            assert 0 == worker.stop(number)
        taken = rows_in(lake, "bronze")
        assert taken > before, "flushed on its way out"
    last = workers.catch_up(ledger.topic, lake)
    assert [taken] == last.claims(0)
    assert len(ledger) - taken == last.report["bronze"]
    ledger.agrees_with(lake)


def test_a_second_worker_takes_over_some_kafka_partitions_and_the_first_never_lets_go_of_the_others(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic(partitions=4))
    ledger.send_spread(events(2000), 4)
    one = workers.start(ledger.topic, lake)
    one.until(lambda: one.assigned == {0, 1, 2, 3}, "it has all four")
    with ledger.trickle(4):
        two = workers.start(ledger.topic, lake)
        two.until(lambda: len(two.assigned) == 2 and not one.assigned & two.assigned, "each has two")
        kept = one.assigned
        assert 2 == len(kept)
        silver = rows_in(lake)
        two.until(lambda: rows_in(lake) > silver + 200, "both go on")
        assert 0 == two.stop()
        one.until(lambda: len(one.assigned) == 4, "the first has all again")
    one.until(lambda: rows_in(lake, "bronze") == len(ledger), "all that was sent is in the lake")
    assert 0 == one.stop()
    assert {number: [0] for number in kept} == {number: one.claims(number) for number in kept}, (
        "kept without a new claim"
    )
    assert [] == one.lines("another writer|WARNING|ERROR") + two.lines("another writer|WARNING|ERROR")
    ledger.agrees_with(lake)
    the_promise_holds(lake, broker)


def test_a_worker_that_gets_no_kafka_partition_stops_when_told_and_when_the_other_caught_up(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic())
    ledger.send(events(100))
    reader = workers.start(ledger.topic, lake, name="reader")
    reader.wait_for(" reading ")
    idle = workers.start(ledger.topic, lake, name="idle")
    idle.wait_for("Consumer.: Starting")
    assert 0 == idle.stop(timeout_s=15)
    idle = workers.catch_up(ledger.topic, lake, name="idle until the other caught up")
    assert [] == idle.lines(" reading ")
    assert 0 == reader.stop()
    ledger.agrees_with(lake)


def test_what_the_group_committed_for_another_lake_is_not_taken_for_done(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, tmp_path: Path
) -> None:
    ledger = Ledger(broker, topic())
    ledger.send(events(100))
    workers.catch_up(ledger.topic, tmp_path / "another", group="same")
    reader = workers.start(ledger.topic, lake, "--allowed-latency", "6s", group="same", name="reader")
    reader.wait_for(" reading ")
    workers.catch_up(ledger.topic, lake, group="same", name="without a Kafka partition")
    assert 100 == rows_in(lake, "bronze")
    assert 0 == reader.stop()


def test_a_worker_that_slept_through_its_session_does_no_damage_when_it_wakes(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic(partitions=2))
    ledger.send_spread(events(8000), 2)
    sleeper = workers.start(ledger.topic, lake, *HOLDS_BACK, "--allowed-latency", "8s", name="sleeper")
    sleeper.wait_for(" flushed ")
    with ledger.trickle(2):
        sleeper.until(lambda: len(ledger) >= 8300, "it holds rows that are not flushed")
        sleeper.send(signal.SIGSTOP)
        other = workers.start(ledger.topic, lake, name="other")
        other.until(lambda: other.assigned == {0, 1}, "the other has both Kafka partitions", 60)
        silver = rows_in(lake)
        other.until(lambda: rows_in(lake) > silver, "and flushes")
        sleeper.send(signal.SIGCONT)
        sleeper.until(lambda: len(sleeper.claims(0)) + len(sleeper.claims(1)) > 2, "it reads again")
        sleeper.until(lambda: len(sleeper.assigned) == len(other.assigned) == 1, "they share")
    other.until(lambda: rows_in(lake) + rows_in(lake, "quarantine") == len(ledger), "all is in the lake")
    assert [0, 0] == [other.stop(), sleeper.stop()]
    assert [] != sleeper.lines("another writer claimed|giving up")
    ledger.agrees_with(lake)
    the_promise_holds(lake, broker)


@pytest.mark.parametrize("workers_at_once", [1, 2])
def test_the_end_is_found_behind_transaction_markers_and_aborted_records(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, workers_at_once: int
) -> None:
    ledger = Ledger(broker, topic(partitions=4))
    producer = ledger.transactional(f"{ledger.topic}-t")
    for number in (0, 1):  # 0 ends in a marker, 1 in an aborted transaction
        ledger.transaction(producer, events(20, first=100 * number), number, commit=True)
    ledger.transaction(producer, events(20, first=300), 1, commit=False)
    ledger.transaction(producer, events(20, first=400), 2, commit=False)  # nothing but aborted records; 3 stays empty
    running = [workers.start(ledger.topic, lake, "--until-caught-up") for _ in range(workers_at_once)]
    assert [0] * workers_at_once == [worker.exit_code() for worker in running]
    assert 40 == len(ledger) == sum(worker.report["bronze"] for worker in running)
    ledger.agrees_with(lake)
    the_promise_holds(lake, broker)


def test_records_reach_bronze_byte_for_byte(workers: Workers, broker: Broker, topic: MakeTopic, lake: Path) -> None:
    ledger = Ledger(broker, topic())
    headers = [("trace", b"1"), ("trace", b"2"), ("empty", b""), ("null", None), ("bytes", bytes(range(256)))]
    ledger.send([event_bytes(0)], key=b"a key")
    ledger.send([event_bytes(1)], key=b"")
    ledger.send([event_bytes(2)], headers=headers)
    ledger.send([event_bytes(3), None, b"", b"\x00\xff\xfe", '{"né\u2028": 1}'.encode()])
    ledger.send([None], key=bytes(range(256)), headers=[("h", b"of a tombstone")])
    ledger.send([event_bytes(4, app_version="x" * 1_000_000)])  # in quarantine or not, but whole
    ledger.send(events(500, first=1000))
    workers.catch_up(ledger.topic, lake)
    ledger.agrees_with(lake)
    held = table_rows(lake, "bronze", ["kafka_offset", "headers"]).to_pylist()
    sent = {offset: sent_headers or [] for (_, offset), (_, _, sent_headers) in ledger.records.items()}
    assert sent == {row["kafka_offset"]: row["headers"] or [] for row in held}
    the_promise_holds(lake, broker)


def test_little_memory_for_a_large_backlog_is_enough(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic(partitions=2))
    ledger.send_spread(events(20_000), 2)
    worker = workers.start(ledger.topic, lake, "--max-in-flight-bytes", "500kB", "--allowed-latency", "60s")
    worker.until(lambda: rows_in(lake, "bronze") > len(ledger) * 0.8, "a full memory is flushed before its time")
    assert 0 == worker.stop()
    workers.catch_up(ledger.topic, lake)
    ledger.agrees_with(lake)


def test_a_lone_event_is_in_silver_within_seconds(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic())
    worker = workers.start(ledger.topic, lake, "--allowed-latency", "0.5s")
    worker.wait_for(" reading ")
    for number in range(3):
        ledger.send([event_bytes(number)])
        worker.until(lambda: rows_in(lake) == len(ledger), "it is in silver", 5)
    assert 0 == worker.stop()


def test_workers_do_with_unknown_fields_what_the_first_was_told(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic())
    ledger.send([event_bytes(0), event_bytes(1, drm="widevine")])
    workers.catch_up(ledger.topic, lake, "--unknown-fields", "rescue")
    ledger.send([event_bytes(2, drm="fairplay")])
    other = workers.start(ledger.topic, lake, "--until-caught-up", "--unknown-fields", "quarantine")
    assert 2 == other.exit_code()
    assert "do rescue with them; leave the flag out" in other.log
    workers.catch_up(ledger.topic, lake)
    rescued = table_rows(lake, "silver", ["kafka_offset", "rescued"]).to_pylist()
    expected = {0: None, 1: [("drm", "widevine")], 2: [("drm", "fairplay")]}
    assert expected == {row["kafka_offset"]: row["rescued"] for row in rescued}
    ledger.agrees_with(lake)
