"""A broker's address and options on the command line, as librdkafka's settings."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schemas.errors import ConfigError

_SERVERS = re.compile(r"[^\s,/]+:\d+(,[^\s,/]+:\d+)*")


def client_options(broker: str, kafka_options: Iterable[str] = ()) -> dict[str, str]:
    """Return librdkafka's settings for a broker.

    Args:
        broker: `kafka://host:port`, several as `kafka://host:port,host:port`.
        kafka_options: `name=value`, any of librdkafka's (CONFIGURATION.md), such as `security.protocol=SASL_SSL`.

    Raises:
        ConfigError: neither of these forms.
    """
    servers = broker.removeprefix("kafka://").rstrip("/")
    if not broker.startswith("kafka://") or _SERVERS.fullmatch(servers) is None:
        raise ConfigError(f"--broker {broker!r} is no broker's address: write kafka://host:port")
    options = {"bootstrap.servers": servers}
    for option in kafka_options:
        name, equals, value = option.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--kafka-option {option!r} is not of the form name=value")
        options[name.strip()] = value.strip()
    return options
