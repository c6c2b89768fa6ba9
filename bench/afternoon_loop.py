"""The baseline: what a good engineer writes in an afternoon, tuned. confluent-kafka, orjson, pyarrow, one process.

Decodes JSON, checks required fields, joins the title catalogue, writes zstd Parquet by event date, commits offsets
after each write. No bronze, no quarantine (bad rows are counted and dropped), at least once.

usage: python -m bench.afternoon_loop BOOTSTRAP TOPIC FOLDER [GROUP]      reads to the end of what it is assigned
"""

import csv
import datetime as dt
import json
import sys
import time
import uuid
from importlib.resources import files
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, KafkaError

REQUIRED = ("event_id", "user_id", "profile_id", "session_id", "title_id", "event_type")
OPTIONAL = ("device_type", "country", "playhead_s", "app_version", "audio_language", "bitrate_kbps", "ab_bucket")
NAMES = (*REQUIRED, "event_ts", *OPTIONAL, "title", "content_type", "genres")
FLUSH_ROWS = 100_000


class Batch:
    """Rows by date until they are written."""

    def __init__(self) -> None:
        with files("schemas").joinpath("titles.csv").open(encoding="utf-8") as file:
            self.titles = {
                row["show_id"]: (row["title"], row["type"], row["listed_in"]) for row in csv.DictReader(file)
            }
        self.by_date: dict[int, list[tuple]] = {}
        self.pending = self.bad = 0

    def add(self, value: bytes | None) -> None:
        try:
            event = orjson.loads(value)
            day = int(event["event_ts"] // 86_400)
            row = (
                *(event[name] for name in REQUIRED),
                event["event_ts"],
                *(event.get(name) for name in OPTIONAL),
                *self.titles.get(event["title_id"], (None, None, None)),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError):
            self.bad += 1
            return
        self.by_date.setdefault(day, []).append(row)
        self.pending += 1

    def write(self, folder: Path) -> None:
        for day, rows in self.by_date.items():
            try:
                date = dt.date(1970, 1, 1) + dt.timedelta(days=day)
                table = pa.table(dict(zip(NAMES, zip(*rows, strict=True), strict=True)))
            except (OverflowError, pa.ArrowInvalid, pa.ArrowTypeError):
                continue  # a time in milliseconds, a number where text should be: one bad row loses its date's batch
            target = folder / f"event_date={date}"
            target.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, target / f"{uuid.uuid4().hex}.parquet", compression="zstd")
        self.by_date, self.pending = {}, 0


def main(bootstrap: str, topic: str, folder: str, group: str | None = None) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group or uuid.uuid4().hex,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 131_072,
            "fetch.message.max.bytes": 8 << 20,
            "fetch.queue.backoff.ms": 5,
        }
    )
    consumer.subscribe([topic])
    batch = Batch()
    seen, first, at_end = 0, 0.0, set()
    while not at_end or at_end < {part.partition for part in consumer.assignment()}:
        for message in consumer.consume(20_000, 0.5):
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise SystemExit(error.str())
                at_end.add(message.partition())
                continue
            first = first or time.time()
            seen += 1
            batch.add(message.value())
        if batch.pending >= FLUSH_ROWS:
            batch.write(Path(folder))
            consumer.commit(asynchronous=False)
    if batch.pending:
        batch.write(Path(folder))
        consumer.commit(asynchronous=False)
    print(json.dumps({"events": seen, "bad": batch.bad, "first": first, "last": time.time()}), flush=True)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
