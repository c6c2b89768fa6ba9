"""What every fault of a worker ends with: fresh events flow again, and the promise holds for all that was sent."""

from __future__ import annotations

from pathlib import Path

from audit.verify import verify
from kinesis import Stream
from sink.lake import Lake
from tests.broker import Broker, fresh_name
from tests.kinesis import Kinesalite
from tests.kinesis.kinesalite import REGION
from tests.kinesis.ledger import StreamLedger
from tests.ledger import Ledger, events
from tests.tables import on_a_disk
from tests.workers import Worker, Workers

PARTITIONS = 3
SHARDS = 4
FRESH = 5_000_000
"""Number of the first event that `recover` sends."""


def the_promise_holds(lake: Path | str, broker: Broker, *ledgers: Ledger, is_deduped: bool = False) -> None:
    """What was acknowledged is in the lake, by the ledgers' account and by `verify`'s."""
    for ledger in ledgers:
        ledger.agrees_with(lake, is_deduped=is_deduped)
    with on_a_disk(lake) as folder:  # `verify` opens each file many times
        assert () == verify(Lake.at(str(folder)), {"bootstrap.servers": broker.bootstrap}).faults


def the_promise_holds_of_a_stream(lake: Path | str, kinesis: Kinesalite, ledger: StreamLedger) -> None:
    """The same of a Kinesis stream, which `verify` reads again."""
    ledger.agrees_with(lake)
    stream = Stream(ledger.stream, REGION, kinesis.client)
    with on_a_disk(lake) as folder:
        assert () == verify(Lake.at(str(folder)), stream=stream).faults


def recover(
    workers: Workers, ledger: Ledger, lake: Path | str, *flags: str, kafka_partitions: int = PARTITIONS
) -> Worker:
    """Send some more and let a worker of another group read to the end, who need not wait for a session to expire."""
    ledger.send_spread(events(300, first=FRESH + len(ledger)), kafka_partitions)
    return workers.catch_up(ledger.topic, lake, *flags, group=fresh_name("group"))
