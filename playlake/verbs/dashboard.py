"""`playlake dashboard`: the lake in a browser."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
from importlib.resources import files
from typing import Any, ClassVar

from pydantic import Field

from playlake.broker import client_options
from playlake.settings import VerbSettings
from schemas.errors import ConfigError
from sink.lake import Lake

_VARIABLE = "PLAYLAKE_DASHBOARD"


class Settings(VerbSettings):
    """Show the lake in a browser: what happens now, titles, countries, hours, devices, quality, positions.

    It reads the gold tables, so it is as fast on a large lake as on a small one. Ends with Ctrl-C.

    Example:
        playlake dashboard --lake ./lake --port 8501
    """

    verb: ClassVar[str] = "dashboard"

    lake: str = Field(description="folder or s3://bucket/prefix; it need not be there yet")
    port: int = Field(8501, ge=1, le=65535, description="to listen on")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 lets others in, without a password")
    broker: str | None = Field(None, description="kafka://host:port to ask for end offsets, which give the lag")
    kafka_option: list[str] = Field([], description="librdkafka setting name=value, such as security.protocol=SSL")
    theme: str | None = Field(None, pattern="^(light|dark)$", description="light or dark; else as the browser is set")


def run(settings: Settings) -> int:
    """Serve until Ctrl-C: this process becomes Streamlit's."""
    lake = Lake.at(settings.lake)
    options = client_options(settings.broker, settings.kafka_option) if settings.broker is not None else None
    if importlib.util.find_spec("streamlit") is None:
        raise ConfigError("the dashboard needs Streamlit: install it with `pip install 'playlake[dashboard]'`")
    _check_free(settings.host, settings.port)
    print(f"playlake dashboard: http://{settings.host}:{settings.port} shows {lake.uri}; Ctrl-C ends it", flush=True)
    command = [sys.executable, "-m", "streamlit", "run", str(files("dashboard").joinpath("app.py")), *_flags(settings)]
    told: dict[str, Any] = {"lake": lake.uri, "client_options": options}
    os.execve(sys.executable, command, {**os.environ, _VARIABLE: json.dumps(told)})  # noqa: S606  # our own script


def _flags(settings: Settings) -> list[str]:
    flags = {
        "server.port": settings.port,
        "server.address": settings.host,
        "server.headless": "true",  # opens no browser
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "logger.level": "warning",
        "global.showWarningOnDirectExecution": "false",
    }
    if settings.theme is not None:
        flags["theme.base"] = settings.theme
    return [f"--{name}={value}" for name, value in flags.items()]


def _check_free(host: str, port: int) -> None:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise ConfigError(f"can't listen on {host}:{port} ({error.strerror}): choose another with --port") from None
