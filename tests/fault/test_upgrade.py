"""Events change under the workers: of two versions, beside workers of both, or with fields that nobody announced."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from query import connect
from sink.faults import VARIABLE
from sink.lake import Lake, data_files
from tests.avro import avro_bytes, schema_text
from tests.broker import Broker, fresh_name
from tests.conftest import MakeTopic
from tests.fault.promise import FRESH, PARTITIONS, recover, the_promise_holds
from tests.ledger import Ledger
from tests.records import event_bytes
from tests.tables import on_a_disk, parquet_file
from tests.workers import Workers, playlake

OLDER = {"PYTHONPATH": str(Path(__file__).parents[1] / "older")}
AVRO = ("--schema-registry", "mock://")
FIELDS = ("audio_language", "bitrate_kbps", "ab_bucket")
NOTHING = (None, None, None)


def later(number: int) -> dict[str, Any]:
    return {"audio_language": ("de", "pt-BR")[number % 2], "bitrate_kbps": number % 9000, "ab_bucket": f"b{number % 3}"}


def of_both_versions(first: int) -> Iterator[bytes]:
    """Events without end: JSON and Avro, of version 1 and of version 2, in turn."""
    for number in itertools.count(first):
        yield event_bytes(number)
        yield event_bytes(number + 1_000_000, **later(number + 1_000_000))
        yield avro_bytes(number + 2_000_000, schema=schema_text(1))
        yield avro_bytes(number + 3_000_000, schema=schema_text(2), schema_id=2, **later(number + 3_000_000))


def sent(event_id: str) -> tuple[Any, ...]:
    """What the client said in the fields of version 2."""
    number = int(event_id.removeprefix("e"))
    return tuple(later(number).values()) if number // 1_000_000 in (1, 3) and number < FRESH else NOTHING


def told(lake: Path) -> dict[str, tuple[Any, ...]]:
    """What a reader sees in them."""
    with connect(str(lake)) as con:
        rows = con.execute("select event_id, audio_language, bitrate_kbps, ab_bucket from silver").fetchall()
    return {event_id: tuple(values) for event_id, *values in rows}


def ids_by_writer(lake: Path) -> tuple[set[str], set[str]]:
    """The events in files without these columns, and in files with them."""
    found: tuple[set[str], set[str]] = (set(), set())
    for path in data_files(Lake.at(str(lake)).table("silver")):
        file = parquet_file(path)
        has = {*FIELDS} <= {*file.schema_arrow.names}
        assert has or not {*FIELDS} & {*file.schema_arrow.names}
        found[has].update(file.read(columns=["event_id"])["event_id"].to_pylist())
    return found


@pytest.mark.also_on_s3("in the long run")
def test_workers_of_two_versions_killed_and_restarted_beside_each_other(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path | str, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(itertools.islice(of_both_versions(0), 400), PARTITIONS)
    flags = (*AVRO, "--allowed-latency", "200ms")
    older = workers.start(ledger.topic, lake, *flags, env=OLDER)
    older.wait_for(" flushed ")  # it made the lake, without the columns
    with ledger.trickle(PARTITIONS, values=of_both_versions(10_000)):
        fault = f"{dice.choice(['before', 'after files', 'after'])} {dice.choice(['quarantine', 'silver'])}"
        newer = workers.start(ledger.topic, lake, *flags, env={VARIABLE: f"{fault}@{dice.randrange(2, 6)}"})
        assert -9 == newer.exit_code(), newer.log
        older.wait_for(" flushed ", count=len(older.lines(" flushed ")) + 2)  # under the newer one's columns
        newer = workers.start(ledger.topic, lake, *flags)
        newer.wait_for(" flushed ", count=2)
        older.kill()
        newer.wait_for(" flushed ", count=dice.randrange(3, 6))
        older = workers.start(ledger.topic, lake, *flags, env=OLDER, group=fresh_name("group"))  # takes all at once
        older.wait_for(" flushed ", count=2)
        older.kill()
        newer.kill()
    recover(workers, ledger, lake, *AVRO)
    the_promise_holds(lake, broker, ledger)
    with on_a_disk(lake) as folder:
        by_older, by_newer = ids_by_writer(folder)
        assert any(NOTHING != sent(each) for each in by_older), "an older worker wrote events of version 2"
        assert any(NOTHING != sent(each) for each in by_newer)
        expected = {**{each: NOTHING for each in by_older}, **{each: sent(each) for each in by_newer}}
        assert expected == told(folder)
        compacted = playlake("compact", "--lake", str(folder), timeout_s=100)
        assert 0 == compacted.returncode, compacted.stderr
        assert expected == told(folder)


def with_a_field_of_its_own(first: int) -> Iterator[bytes]:
    """Events without end, each tenth of them with another field."""
    for number in itertools.count(first):
        yield event_bytes(number, **{f"field_{number // 10 % 60}": str(number)})


def test_workers_that_add_a_column_for_each_unknown_field_killed_and_restarted(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(itertools.islice(with_a_field_of_its_own(0), 100), PARTITIONS)
    flags = ("--allowed-latency", "200ms")
    steady = workers.start(ledger.topic, lake, *flags, "--unknown-fields", "evolve")
    steady.wait_for(" flushed ")
    with ledger.trickle(PARTITIONS, values=with_a_field_of_its_own(1000)):
        for _ in range(2):
            fault = f"{dice.choice(['before', 'after files', 'after'])} silver@{dice.randrange(1, 4)}"
            dying = workers.start(ledger.topic, lake, *flags, env={VARIABLE: fault})
            assert -9 == dying.exit_code(), dying.log
        steady.wait_for(" flushed ", count=len(steady.lines(" flushed ")) + 2)
        steady.kill()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)
    with connect(str(lake)) as con:
        rows = con.sql("select * from silver").to_arrow_table().to_pylist()
    for row in rows:
        number = int(row["event_id"].removeprefix("e"))
        expected = {f"field_{number // 10 % 60}": str(number)} if number < FRESH else {}
        assert expected == {name: text for name, text in row.items() if name.startswith("field_") and text is not None}
        assert row["rescued"] is None
