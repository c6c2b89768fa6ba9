"""A world in trouble around the worker: what passes is waited out, what waiting will not mend stops it with a line."""

from __future__ import annotations

import ctypes
import shutil
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


def the_promise_holds(lake: Path, broker: Broker) -> None:
    assert () == verify(Lake.at(str(lake)), {"bootstrap.servers": broker.bootstrap}).faults


def test_a_worker_waits_while_a_table_is_out_of_reach(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic())
    ledger.send(events(1000))
    worker = workers.start(ledger.topic, lake)
    worker.until(lambda: rows_in(lake) == 980, "the first records are in silver")
    for count, table in enumerate(("bronze", "silver"), 1):  # before anything of a flush was written, and half-way
        (lake / table).rename(lake / "away")
        (lake / table).write_text("a file where the folder was: nobody can write below it, root neither")
        ledger.send(events(1000, first=2000 * count))
        worker.wait_for("WARNING waiting: the store does not serve", count=count)
        (lake / table).unlink()
        (lake / "away").rename(lake / table)
        worker.wait_for("the store answers again", count=count)
        worker.until(lambda count=count: rows_in(lake) == 980 * (count + 1), "the others follow")
    assert 0 == worker.stop()
    ledger.agrees_with(lake)
    the_promise_holds(lake, broker)


def test_a_lake_that_vanished_is_waited_for_and_never_begun_anew(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic())
    ledger.send(events(1000))
    worker = workers.start(ledger.topic, lake)
    worker.until(lambda: rows_in(lake) == 980, "the first records are in silver")
    lake.rename(lake.with_name("unmounted"))
    lake.mkdir()  # as a mount point that lost its disk
    ledger.send(events(1000, first=2000))
    worker.wait_for("WARNING waiting: the store does not serve")
    assert [] == list(lake.rglob("*.json")), "a data file may be left behind, but no table was begun"
    shutil.rmtree(lake)
    lake.with_name("unmounted").rename(lake)
    worker.until(lambda: rows_in(lake) == 1960, "the others follow")
    assert 0 == worker.stop()
    ledger.agrees_with(lake)
    the_promise_holds(lake, broker)


def exchange(one: Path, other: Path) -> None:
    """Exchange a folder and a file; at no moment is there nothing."""
    here, exchange_them = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of Linux
    assert 0 == ctypes.CDLL(None).renameat2(here, bytes(one), here, bytes(other), exchange_them)


def test_a_claim_waits_for_the_store_and_an_empty_topic_still_has_an_end(
    workers: Workers, topic: MakeTopic, lake: Path
) -> None:
    worker = workers.start(topic(partitions=2), lake, "--until-caught-up")
    worker.until(lambda: (lake / "bronze/playback_events/_delta_log").is_dir(), "the tables are there")
    (lake / "away").write_text("a file")
    exchange(lake / "silver", lake / "away")
    worker.wait_for("WARNING waiting: the store does not serve")
    exchange(lake / "silver", lake / "away")
    assert 0 == worker.exit_code()
    assert {"bronze": 0, "silver": 0, "quarantine": 0} == {
        table: worker.report[table] for table in ("bronze", "silver", "quarantine")
    }


# ---------------------------------------------------------------- others who write


def test_two_groups_that_write_one_topic_to_one_lake_do_no_damage(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic(partitions=2))
    ledger.send_spread(events(2000), 2)
    with ledger.trickle(2):
        both = [workers.start(ledger.topic, lake, "--allowed-latency", "0.3s", group=group) for group in ("one", "two")]
        both[0].until(lambda: rows_in(lake, "bronze") > 2500 or not both[1].is_running, "records go on to the lake")
    codes = [worker.stop() if worker.is_running else worker.exit_code() for worker in both]
    assert set(codes) <= {0, 2}
    for worker, code in zip(both, codes, strict=True):
        assert (code == 2) == bool(worker.lines("playlake stream: .* another"))
        assert "Traceback" not in worker.log
    workers.catch_up(ledger.topic, lake, group="one")
    ledger.agrees_with(lake)
    the_promise_holds(lake, broker)


# ---------------------------------------------------------------- the catalogue

COLUMNS = "show_id,type,title,director,cast,country,date_added,release_year,rating,duration,listed_in\n"


def test_a_changed_catalogue_is_used_and_a_broken_one_is_not(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, tmp_path: Path
) -> None:
    catalogue = tmp_path / "titles.csv"

    def write(content: str) -> None:
        catalogue.with_suffix(".new").write_text(content)
        catalogue.with_suffix(".new").rename(catalogue)

    def title(of: str) -> str:
        return COLUMNS + f"s1,Movie,{of},Ada Ruiz,,Germany,,2020,PG-13,90 min,Dramas\n"

    ledger = Ledger(broker, topic())
    write(title("The First"))
    worker = workers.start(ledger.topic, lake, "--catalogue", str(catalogue), "--allowed-latency", "200ms")
    for number, (content, said) in enumerate(
        [
            (title("The First"), " reading "),
            (title("The Second"), "catalogue .* read again"),
            ("no,columns,of,ours\n1,2,3,4\n", "keeping the former title catalogue"),
            (title("The Fourth"), "catalogue .* read again: 1"),
        ]
    ):
        if number:
            write(content)

        def is_said(said: str = said, number: int = number) -> bool:  # it looks when records come
            ledger.send([event_bytes(10_000 + len(ledger))])
            return len(worker.lines(said)) >= (2 if number == 3 else 1)

        worker.until(is_said, said)
        ledger.send([event_bytes(number)])
        worker.until(lambda: rows_in(lake) == len(ledger), "it is in silver")
    assert 0 == worker.stop()
    titles = {row["event_id"]: row["title"] for row in table_rows(lake, "silver", ["event_id", "title"]).to_pylist()}
    assert ["The First", "The Second", "The Second", "The Fourth"] == [titles[f"e{number}"] for number in range(4)]
    ledger.agrees_with(lake)
