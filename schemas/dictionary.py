"""What each column of the lake's own tables means, for the data dictionary. Gold's are in their SQL files' headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_POSITION: Final = {
    "topic": "Kafka topic, Kinesis stream, or place of files",
    "topic_id": "the broker's UUID of the topic, `-` where it has none; a topic made anew is another source",
    "kafka_partition": "Kafka partition",
    "kafka_offset": "offset in it",
}
_TIMES: Final = {
    "broker_timestamp": "the broker's timestamp of the record; null: it has none",
    "ingest_timestamp": "the worker's clock when the record was processed",
}
_RECORD: Final = {
    "key": "the record's key, byte for byte; of a file's record file and line",
    "value": "its value, byte for byte",
}

PURPOSES: Final[Mapping[str, str]] = {
    "bronze": "Every record as it came, byte for byte.",
    "silver": "Valid events, typed and enriched. Rows without a usable event time are in the null partition.",
    "quarantine": "Refused records with every reason.",
}
"""Table → what it holds."""

MEANINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "bronze": {
        **_POSITION,
        **_TIMES,
        **_RECORD,
        "value": "its value, byte for byte; null: a tombstone",
        "headers": "its headers; a repeated name keeps every value, in order",
        "ingest_date": "date of `ingest_timestamp` (UTC)",
    },
    "silver": {
        "event_id": "the client's id of the event; what repeats are known by",
        "user_id": "who pays; a pseudonym in a lake that has a key for them",
        "profile_id": "who watches: a viewer is a `profile_id` of a `user_id`; a pseudonym as that",
        "session_id": "one sitting of a viewer",
        "title_id": "what is watched; key of the title catalogue",
        "event_type": "PLAY_START, PLAY_STOP, PAUSE, RESUME, SEEK, HEARTBEAT …",
        "event_ts": "event time as sent, seconds since 1970; null where it was no number",
        "event_timestamp": "event time: the client's clock, or where repair found it",
        "device_type": "as sent; null: none was sent",
        "country": "ISO 3166-1 alpha-2 code as sent; null: none was sent",
        "playhead_s": "where in the title the viewer is, seconds",
        "app_version": "of the client",
        "audio_language": "of the audio track, as sent (BCP 47); null: none was sent, as before version 2 of the event",
        "bitrate_kbps": "what the player chose, thousands of bits a second; null as above",
        "ab_bucket": "the client's bucket in experiments; null as above",
        "rescued": "fields that playlake does not know: name → text, or JSON text; null: none, or the lake drops them",
        "title": "name in the catalogue; null: the title is not in it",
        "content_type": "Movie or TV Show, from the catalogue",
        "genres": "from the catalogue",
        "release_year": "from the catalogue",
        "rating": "age rating, from the catalogue",
        "director": "from the catalogue, separated by commas",
        "duration_s": "length in seconds; null for series and unknown titles",
        "content_countries": "countries that the title comes from, from the catalogue",
        "region": "of the country; null: country unknown",
        "quality_score": "0 to 1, weighted by what the row lacks",
        "warnings": "codes of what is wrong with a row that was kept; empty: nothing",
        "event_date_source": "where the event time came from: `event_ts`, `payload`, `broker`, or `null`: nowhere yet",
        **_POSITION,
        **_TIMES,
        "raw_payload": "the payload of a row that came without a usable event time, kept for undo; null for others",
        "repair_id": "the repair that gave the row its date; null: none did",
        "event_date": "date of `event_timestamp` (UTC); null: the null partition",
    },
    "quarantine": {
        **_POSITION,
        **_TIMES,
        **_RECORD,
        "reasons": "codes of everything that is wrong, such as `malformed_json` or `missing:user_id`",
        "detail": "what was found, in words; null: the reasons say it all",
        "rule_set": "which rules refused it",
        "ingest_date": "date of `ingest_timestamp` (UTC)",
    },
}
"""Table → column → meaning, for every column of `schemas.tables`."""
