"""How a long-running verb logs: a line a message on standard error, for people or as JSON. Never payloads or keys."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from typing import Final, Literal

LogFormat = Literal["text", "json"]

_OWN: Final = ("playlake", "stream_app", "sink")
_FIELDS: Final = ("rows", "positions", "seconds")
"""What log calls of ours give as `extra`: JSON values, so that a program need not read the message."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC, ISO 8601), `level`, `logger`, `message`, and fields of ours, if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging(log_format: LogFormat, *, verbose: bool) -> None:
    """Log to standard error; other libraries only from warnings on unless verbose."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in _OWN:
        logging.getLogger(name).setLevel(logging.INFO)
    if verbose:
        logging.getLogger().setLevel(logging.INFO)
    else:  # it tells each of some thirty tries a second to reach a broker that is away; the transport tells it once
        logging.getLogger("librdkafka").setLevel(logging.CRITICAL)
