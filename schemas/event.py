"""The playback event: its fields, its types of event, and the bounded codes for what can be wrong with one."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

EVENT_TYPES: Final = ("PLAY_START", "PLAY_STOP", "PAUSE", "RESUME", "SEEK", "HEARTBEAT")
DEVICE_TYPES: Final = ("mobile", "tablet", "web", "smart_tv", "console", "streaming_stick")
HEARTBEAT_INTERVAL_S: Final = 60.0
"""A client that plays sends a HEARTBEAT this often; watch seconds cap a silent gap at twice this."""

REQUIRED_FIELDS: Final = ("event_id", "user_id", "profile_id", "session_id", "title_id", "event_type")
"""Text fields without which a record is quarantined; `content_id` is taken as another name of `title_id`."""
OPTIONAL_TEXT_FIELDS: Final = ("device_type", "country", "app_version")
"""Text fields that may be missing or null, at a cost in `quality_score`; a value of another type is quarantined."""

TEXT_FIELDS: Final = (*REQUIRED_FIELDS, "content_id", *OPTIONAL_TEXT_FIELDS)
"""What the rules read as text; in another type it is a fault."""
EVENT_FIELD_ALIASES: Final = {"content_id": "title_id"}
"""Other names of fields, and the names that the tables have for them."""
NUMBER_FIELDS: Final = ("event_ts", "playhead_s")
"""What the rules read as numbers."""

REASONS: Final = (
    "empty_value",
    "unknown_schema",
    "malformed_avro",
    "not_utf8",
    "malformed_json",
    "not_an_object",
    *(f"missing:{field}" for field in REQUIRED_FIELDS),
    *(f"wrong_type:{field}" for field in (*REQUIRED_FIELDS, *OPTIONAL_TEXT_FIELDS, "playhead_s")),
    "unknown_event_type",
    "out_of_range:playhead_s",
)
"""Codes of `quarantine.reasons`, in the order in which they are checked. A row holds every one that applies."""

WARNINGS: Final = (
    "event_time_missing",
    "event_time_wrong_type",
    "event_time_implausible",
    "unknown_title",
    "unknown_country",
    "unknown_device_type",
)
"""Codes of `silver.warnings`. The `event_time_*` ones mean that the row was written to the null partition."""

EVENT_DATE_SOURCES: Final = ("event_ts", "payload", "broker", "null")
"""Where `event_date` came from: the event's own `event_ts`; another field of the payload or the broker's time, both by
repair; or nowhere, which is the null partition."""


EVENT_VERSIONS: Final = (1,)
"""Versions of the event's Avro schema, oldest first."""


def avro_versions() -> dict[int, dict[str, Any]]:
    """Return each version of the event's Avro schema as a dict (Avro 1.11 specification, record schema)."""
    folder = files("schemas")
    return {
        number: json.loads(folder.joinpath(f"playback_event.v{number}.avsc").read_text(encoding="utf-8"))
        for number in EVENT_VERSIONS
    }


def avro_schema() -> dict[str, Any]:
    """Return the current version of the event's Avro schema."""
    return avro_versions()[EVENT_VERSIONS[-1]]
