"""Start a broker, print its address, keep it until Ctrl-C: `python -m tests.broker [--topic NAME:PARTITIONS]`."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.broker import NoBroker, start


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.broker", description=__doc__)
    parser.add_argument("--topic", action="append", default=[], metavar="NAME:PARTITIONS", help="create it first")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        broker = start(lambda line: print(line, file=sys.stderr, flush=True))
    except NoBroker as error:
        print(error, file=sys.stderr)
        return 2
    try:
        for topic in wanted.topic:
            name, _, partitions = topic.partition(":")
            broker.create_topic(name, int(partitions or 1))
        print(broker.url, flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        broker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
