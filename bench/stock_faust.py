"""The baseline of the same framework: stock Faust on its own driver (aiokafka), tuned. orjson and pyarrow, one process.

Takes batches with `noack_take`, decodes, checks, joins and writes as the afternoon's loop does, then acknowledges.

usage: python -m bench.stock_faust BOOTSTRAP TOPIC EVENTS FOLDER
"""

import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import faust

from bench.afternoon_loop import FLUSH_ROWS, Batch


def main(bootstrap: str, topic: str, events: int, folder: str) -> None:
    app = faust.App(
        f"bench-{uuid.uuid4().hex[:8]}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=folder,
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        topic_disable_leader=True,
        web_enabled=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=FLUSH_ROWS,
        broker_max_poll_records=10_000,
        consumer_max_fetch_size=8 << 20,
    )
    batch = Batch()

    async def ingest(stream: Any) -> None:
        seen, first = 0, 0.0
        async for taken in stream.noack_take(10_000, within=0.5):
            first = first or time.time()
            for event in taken:
                batch.add(event.value)
            seen += len(taken)
            if batch.pending >= FLUSH_ROWS or seen >= events:
                batch.write(Path(folder))
            for event in taken:
                event.ack()
            if seen >= events:
                print(json.dumps({"events": seen, "bad": batch.bad, "first": first, "last": time.time()}), flush=True)
                os._exit(0)  # Faust's own way out takes seconds more

    app.agent(app.topic(topic, value_serializer="raw"), name="ingest")(ingest)
    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
