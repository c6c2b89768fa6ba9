"""The command line: finds the verb, loads its module only, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

VERBS: Final = {
    "demo": "everything once, with nothing installed but the Python packages",
    "produce": "simulate viewers and send their playback events to a topic",
    "stream": "the worker: read a topic, check, enrich, write to the lake exactly once",
    "ingest": "take files of JSON or CSV from a folder or bucket into the lake, each exactly once",
    "compact": "repair, drop repeats, merge small files, refresh gold, delete old files",
    "repair": "give rows without a usable event time their date",
    "expire": "take the oldest days out of a table, known to verify",
    "forget": "remove a person from all tables",
    "gold": "bring the gold tables up to date",
    "adopt": "make a folder of plain Parquet files a Delta table",
    "query": "ask the lake in SQL",
    "quarantine": "what was refused: counted, record by record, to a file, judged again",
    "schema": "whether a changed event schema fits the ones before it; the data dictionary",
    "rules": "try a changed set of rules on real records",
    "dashboard": "show the lake in a browser",
    "report": "one date as one HTML file, fit to be mailed",
    "athena": "DDL and queries with which Athena reads the lake",
    "status": "how the lake is: sizes, freshness, positions, what was refused",
    "verify": "prove that nothing was lost and nothing doubled",
}
"""Verb → one line of help. Its module is `playlake.verbs.<verb>`, with `Settings` and `run(settings) -> int`."""

EXIT_OK, EXIT_NO, EXIT_WRONG, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: words after `playlake`; None takes them from the process.

    Returns:
        0 success; 1 it ran and the answer is no; 2 wrong use or a broken world, with one line on standard error that
        says what to do; 130 after Ctrl-C.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return EXIT_OK if words else EXIT_WRONG
    if words[0] in ("-V", "--version"):
        import playlake

        print(f"playlake {playlake.__version__}")
        return EXIT_OK
    verb = words[0]
    if verb not in VERBS:
        print(f"playlake: there is no verb {verb!r}; `playlake --help` lists them", file=sys.stderr)
        return EXIT_WRONG
    return _run(verb, words[1:])


def _run(verb: str, arguments: list[str]) -> int:
    from schemas.errors import PlaylakeError

    try:
        with _interrupts_come_through():
            from playlake.settings import load

            module = importlib.import_module(f"playlake.verbs.{verb}")
            exit_code: int = module.run(load(module.Settings, arguments))
            sys.stdout.flush()
            return exit_code
    except PlaylakeError as error:
        print(f"playlake {verb}: {error}", file=sys.stderr)
        return EXIT_WRONG
    except KeyboardInterrupt:
        print(f"playlake {verb}: stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away (`playlake query … | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


@contextmanager
def _interrupts_come_through() -> Iterator[None]:
    """Raise KeyboardInterrupt for what Ctrl-C became on its way.

    Where compiled code calls Python (DuckDB, asking an Arrow table for its columns), an interrupt meanwhile comes out
    as that library's own error.
    """
    interrupts = 0

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        signal.default_int_handler(number, frame)

    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a shell's background job ignores it
    )
    if is_ours:
        signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    except Exception as error:
        if interrupts:
            raise KeyboardInterrupt from error
        raise
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()]
    return "\n".join(
        [
            "usage: playlake VERB [OPTIONS]",
            "",
            "A streaming lake for clickstreams: Kafka to exactly-once Parquet in Delta tables.",
            "",
            *lines,
            "",
            "`playlake VERB --help` explains a verb, with an example. Start with `playlake demo`.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
