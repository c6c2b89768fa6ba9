"""The baseline: what a good engineer writes in an afternoon, tuned. confluent-kafka, orjson, pyarrow, one process.

Decodes JSON, checks required fields, joins the title catalogue, writes zstd Parquet by event date, commits offsets
after each write. No bronze, no quarantine (bad rows are counted and dropped), at least once.

usage: python -m bench.afternoon_loop BOOTSTRAP TOPIC EVENTS FOLDER
"""

import csv
import datetime as dt
import sys
import uuid
from importlib.resources import files
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer

REQUIRED = ("event_id", "user_id", "profile_id", "session_id", "title_id", "event_type")
OPTIONAL = ("device_type", "country", "playhead_s", "app_version")
FLUSH_ROWS = 100_000


def titles() -> dict[str, tuple[str, str, str]]:
    with files("schemas").joinpath("titles.csv").open(encoding="utf-8") as file:
        return {row["show_id"]: (row["title"], row["type"], row["listed_in"]) for row in csv.DictReader(file)}


def main(bootstrap: str, topic: str, events: int, folder: str) -> None:
    catalogue = titles()
    unknown = (None, None, None)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 131_072,
            "fetch.message.max.bytes": 8 << 20,
            "fetch.queue.backoff.ms": 5,
        }
    )
    consumer.subscribe([topic])
    seen = bad = 0
    by_date: dict[int, list[tuple]] = {}
    pending = 0
    while seen < events:
        for message in consumer.consume(20_000, 0.5):
            seen += 1
            try:
                event = orjson.loads(message.value())
                day = int(event["event_ts"] // 86_400)
                row = (
                    *(event[name] for name in REQUIRED),
                    event["event_ts"],
                    *(event.get(name) for name in OPTIONAL),
                    *catalogue.get(event["title_id"], unknown),
                )
            except (orjson.JSONDecodeError, KeyError, TypeError):
                bad += 1
                continue
            by_date.setdefault(day, []).append(row)
            pending += 1
        if pending >= FLUSH_ROWS or seen >= events:
            write(by_date, Path(folder))
            by_date, pending = {}, 0
            consumer.commit(asynchronous=False)
    consumer.close()
    print(f"{seen:,} events, {bad:,} bad rows dropped")


def write(by_date: dict[int, list[tuple]], folder: Path) -> None:
    names = (*REQUIRED, "event_ts", *OPTIONAL, "title", "content_type", "genres")
    for day, rows in by_date.items():
        try:
            date = dt.date(1970, 1, 1) + dt.timedelta(days=day)
            table = pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))
        except (OverflowError, pa.ArrowInvalid, pa.ArrowTypeError):
            continue  # a time in milliseconds, a number where text should be: one bad row loses its date's batch
        target = folder / f"event_date={date}"
        target.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, target / f"{uuid.uuid4().hex}.parquet", compression="zstd")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
