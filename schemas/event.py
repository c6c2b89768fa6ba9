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

LATER_TEXT_FIELDS: Final = ("audio_language", "ab_bucket")
LATER_NUMBER_FIELDS: Final = ("bitrate_kbps",)
"""Fields that came with a version after the first. A worker of the version before ignores them, so they never decide
where a record goes: a value that is not what it should be is null in silver, with a warning."""

TEXT_FIELDS: Final = (*REQUIRED_FIELDS, "content_id", *OPTIONAL_TEXT_FIELDS, *LATER_TEXT_FIELDS)
"""What is read as text."""
EVENT_FIELD_ALIASES: Final = {"content_id": "title_id"}
"""Other names of fields, and the names that the tables have for them."""
NUMBER_FIELDS: Final = ("event_ts", "playhead_s", *LATER_NUMBER_FIELDS)
"""What is read as numbers."""

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
    "unknown_fields",
)
"""Codes of `quarantine.reasons`, in the order in which they are checked. A row holds every one that applies."""

WARNINGS: Final = (
    "event_time_missing",
    "event_time_wrong_type",
    "event_time_implausible",
    "unknown_title",
    "unknown_country",
    "unknown_device_type",
    *(f"wrong_type:{field}" for field in (*LATER_TEXT_FIELDS, *LATER_NUMBER_FIELDS)),
    "out_of_range:bitrate_kbps",
)
"""Codes of `silver.warnings`. The `event_time_*` ones mean that the row was written to the null partition."""

EVENT_DATE_SOURCES: Final = ("event_ts", "payload", "broker", "null")
"""Where `event_date` came from: the event's own `event_ts`; another field of the payload or the broker's time, both by
repair; or nowhere, which is the null partition."""


EVENT_VERSIONS: Final = (1, 2)
"""Versions of the event's Avro schema, oldest first."""


def avro_versions() -> dict[int, dict[str, Any]]:
    """Return each version of the event's Avro schema as a dict (Avro 1.11 specification, record schema)."""
    folder = files("schemas")
    return {
        number: json.loads(folder.joinpath(f"playback_event.v{number}.avsc").read_text(encoding="utf-8"))
        for number in EVENT_VERSIONS
    }
