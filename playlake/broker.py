"""A broker's address and options on the command line: librdkafka's settings, or a Kinesis stream."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from schemas.errors import ConfigError

if TYPE_CHECKING:
    from kinesis import Stream

_SERVERS = re.compile(r"[^\s,/]+:\d+(,[^\s,/]+:\d+)*")
_REBOOTSTRAP = "metadata.recovery.rebootstrap.trigger.ms"
_REBOOTSTRAP_MS = "10000"
"""A cluster that goes down in order may name no broker in its last answer. librdkafka 2.16 then forgets those it knew,
and by default asks at `--broker` again only after five minutes."""
_KINESIS = "kinesis://"
_STREAM = re.compile(r"kinesis://([a-z0-9-]+)/([A-Za-z0-9_.-]{1,128})/?")


def is_kinesis(broker: str) -> bool:
    """Return whether an address is that of a Kinesis stream."""
    return broker.startswith(_KINESIS)


def stream_of(broker: str, *, topic: str | None = None, kafka_options: Iterable[str] = ()) -> Stream:
    """Return a client of the stream at `kinesis://REGION/STREAM`; it has asked nothing yet.

    Args:
        broker: the address.
        topic: what `--topic` said; a stream is its own topic, so it may only repeat the stream's name.
        kafka_options: what `--kafka-option` said; there must be none.

    Raises:
        ConfigError: not of this form, or flags that don't fit it.
    """
    match = _STREAM.fullmatch(broker)
    if match is None:
        raise ConfigError(f"--broker {broker!r} is no stream's address: write kinesis://REGION/STREAM")
    region, name = match[1], match[2]
    if topic not in (None, name):
        raise ConfigError(f"--topic {topic!r} is not the stream {name!r} of --broker: leave --topic out")
    if any(True for _ in kafka_options):
        raise ConfigError("--kafka-option is for kafka://; Kinesis' client takes the usual AWS variables")
    from kinesis import open_stream

    return open_stream(region, name)


def client_options(broker: str, kafka_options: Iterable[str] = ()) -> dict[str, str]:
    """Return librdkafka's settings for a broker.

    Args:
        broker: `kafka://host:port`, several as `kafka://host:port,host:port`.
        kafka_options: `name=value`, any of librdkafka's (CONFIGURATION.md), such as `security.protocol=SASL_SSL`.

    Raises:
        ConfigError: neither of these forms.
    """
    if is_kinesis(broker):
        raise ConfigError(f"--broker {broker!r} is a Kinesis stream, and this verb asks Kafka only: leave --broker out")
    servers = broker.removeprefix("kafka://").rstrip("/")
    if not broker.startswith("kafka://") or _SERVERS.fullmatch(servers) is None:
        raise ConfigError(
            f"--broker {broker!r} is no broker's address: write kafka://host:port or kinesis://REGION/STREAM"
        )
    options = {"bootstrap.servers": servers, _REBOOTSTRAP: _REBOOTSTRAP_MS}
    for option in kafka_options:
        name, equals, value = option.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--kafka-option {option!r} is not of the form name=value")
        options[name.strip()] = value.strip()
    return options
