"""`playlake stream`: the worker."""

from __future__ import annotations

import json
import logging
import os
import re
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from playlake.broker import client_options, is_kinesis, stream_of
from playlake.lean import lean
from playlake.logs import LogFormat, set_up_logging
from playlake.settings import Duration, Port, Size, VerbSettings
from schemas.errors import TransientError

if TYPE_CHECKING:
    from sink.lake import Lake
    from stream_app.origin import Origin

_SHARE = re.compile(r"(\d{1,4})/(\d{1,4})")


class Settings(VerbSettings):
    """Read playback events from a topic, check and enrich them, and write them to the lake exactly once.

    Several workers with the same --group share the topic's Kafka partitions. What is read next is decided by the lake,
    so a worker may be killed and started again at any time. A topic that was deleted and made again under its name is
    another topic: the worker stops and says so, and goes on with the new one only if told to (--accept-new-topic).

    With kinesis:// the topic is the stream; its workers divide the shards by --worker 1/4 to --worker 4/4.

    Example:
        playlake stream --broker kafka://localhost:9092 --topic playback_events --lake ./lake
    """

    verb: ClassVar[str] = "stream"

    broker: str = Field(description="kafka://host:port[,host:port], or kinesis://REGION/STREAM")
    topic: str | None = Field(None, validate_default=True, description="topic to read; needed with kafka://")
    worker: str = Field("1/1", description="which share of a Kinesis stream's shards to read, such as 2/4")
    lake: str = Field(description="folder or s3://bucket/prefix; made when it isn't there")
    allowed_latency: Duration = Field(10.0, description="a row waits at most this long for its flush, such as 10s")
    until_caught_up: bool = Field(False, description="stop once all that was there at the start is in the lake")
    wait: bool = Field(
        False, description="wait for a broker, a topic, a store or a schema registry that isn't there yet"
    )
    accept_new_topic: bool = Field(
        False, description="the topic was deleted and made again: read the new one too, from its beginning"
    )
    catalogue: Path | None = Field(None, description="CSV of titles (Netflix-titles layout); default: the small one")
    format: Literal["json", "avro"] = Field(
        "json", description="what the topic holds; avro needs --schema-registry and reads JSON on the same topic, too"
    )
    schema_registry: str | None = Field(
        None, description="http(s)://HOST:PORT[/PATH], a folder of schemas, or mock://; with it Avro is read, too"
    )
    registry_option: list[str] = Field([], description="schema registry client's setting, such as ssl.ca.location=FILE")
    rules: Path | None = Field(
        None, description="TOML file of rules on top of the built-in ones; default: the shipped ones"
    )
    pseudonym_key_file: Path | None = Field(
        None, description="pseudonyms in place of user_id and profile_id in silver, by this file's key; docs/privacy.md"
    )
    accept_over_budget: bool = Field(
        False, description="go on where more records of a flush are bad than the rules' budgets allow"
    )
    unknown_fields: Literal["discard", "rescue", "evolve", "quarantine"] | None = Field(
        None,
        description="JSON fields that playlake does not know: drop them (default), keep them in silver.rescued, give "
        "each a text column (evolve), or refuse the record; kept with the lake, for all its workers",
    )
    change_unknown_fields: bool = Field(
        False,
        description="set --unknown-fields where the lake's workers do something else; they take it up when started",
    )
    group: str = Field("playlake", description="consumer group")
    flush_bytes: Size = Field(32 << 20, description="flush at once when this much is buffered; default: 32MiB")
    max_in_flight_bytes: Size = Field(
        64 << 20, description="hold at most this much that is not in the lake yet; default: 64MiB"
    )
    web_port: Port | None = Field(None, description="serve /metrics, /healthz and /readyz on this port; default: none")
    web_bind: str = Field("127.0.0.1", description="address for them; 0.0.0.0 is every network, without a password")
    freshness_limit: Duration = Field(
        300.0, description="/readyz says no while a record is older than this, such as 5m, and not in the lake"
    )
    kafka_option: list[str] = Field([], description="librdkafka setting name=value, such as security.protocol=SSL")
    log_format: LogFormat = Field("text", description="text for people, json for programs: one object a line")
    verbose: bool = Field(False, description="log Faust's and librdkafka's own messages too")
    # `as_json` on the command line is --json, as for every verb
    as_json: bool = Field(False, alias="json", description="print the final report as one JSON object")

    @field_validator("topic")
    @classmethod
    def _is_given_with_kafka(cls, topic: str | None, others: ValidationInfo) -> str | None:
        if topic is None and not is_kinesis(others.data.get("broker", "")):
            raise PydanticCustomError("missing", "needed with kafka://")
        return topic

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if not is_kinesis(self.broker) and self.worker != "1/1":
            raise ValueError("--worker is for kinesis://; Kafka's workers share a topic by --group")
        share = _SHARE.fullmatch(self.worker)
        if share is None or not 1 <= int(share[1]) <= int(share[2]):
            raise ValueError(f"--worker {self.worker!r} is no share: write 1/4 to 4/4 for four workers")
        if self.format == "avro" and self.schema_registry is None:
            raise ValueError("--format avro needs --schema-registry URL, a folder of schemas, or mock://")
        if self.change_unknown_fields and self.unknown_fields is None:
            raise ValueError("--change-unknown-fields needs --unknown-fields")
        return self


def _keep_pages() -> None:
    """Have Arrow use jemalloc: its default gives pages back that the next batch has to have cleared again."""
    import pyarrow as pa

    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ and "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


@lean()
def run(settings: Settings) -> int:
    """Run a worker; see `Settings`."""
    from playlake.pseudonym_key import read_key
    from playlake.registry import open_registry
    from sink.faults import VARIABLE, fault_point
    from sink.lake import Lake
    from stream_app.catalogue import read_titles, shipped_catalogue
    from stream_app.rules import read_rules, shipped_rules

    set_up_logging(settings.log_format, verbose=settings.verbose)
    lake = Lake.at(settings.lake)
    catalogue = settings.catalogue or shipped_catalogue()
    read_titles(catalogue)
    rules = read_rules(settings.rules) if settings.rules is not None else shipped_rules()
    pseudonyms = read_key(settings.pseudonym_key_file)
    registry = open_registry(settings.schema_registry, settings.registry_option) if settings.schema_registry else None

    from stream_app.app import WorkerSettings, run_worker
    from stream_app.pipeline import Limits

    origin = _origin(settings, lake)
    _keep_pages()
    with closing(registry) if registry is not None else nullcontext():
        report = run_worker(
            WorkerSettings(
                origin=origin,
                lake=lake,
                catalogue=catalogue,
                group=settings.group,
                limits=Limits(settings.allowed_latency, settings.flush_bytes, settings.max_in_flight_bytes),
                registry=registry,
                rules=rules,
                pseudonyms=pseudonyms,
                unknown_fields=settings.unknown_fields,
                change_unknown_fields=settings.change_unknown_fields,
                accept_over_budget=settings.accept_over_budget,
                until_caught_up=settings.until_caught_up,
                accept_new_topic=settings.accept_new_topic,
                wait=settings.wait,
                web_port=settings.web_port,
                web_bind=settings.web_bind,
                freshness_limit_s=settings.freshness_limit,
            ),
            step=fault_point(os.environ.get(VARIABLE)),
        )
    records = report.rows["silver"] + report.rows["quarantine"]
    rate = records / report.seconds if report.seconds else 0.0
    if settings.as_json:
        print(
            json.dumps(
                {**report.rows, "rules": report.broken, "flushes": report.flushes, "seconds": round(report.seconds, 3)}
            )
        )
    else:
        print(
            f"{records:,} events in {report.seconds:.1f} s ({rate:,.0f} events/s): {report.rows['silver']:,} silver, "
            f"{report.rows['quarantine']:,} quarantined, {report.flushes} flushes"
        )
        for name, count in report.broken.items():
            if count:
                print(f"  rule {name}: {count:,}")
    if not report.is_flushed:
        raise TransientError(
            "stopped without the last flush, the store or the broker did not answer in time. Nothing is lost: "
            "the next worker reads those records again"
        )
    return 130 if report.interrupted and settings.until_caught_up else 0


def _origin(settings: Settings, lake: Lake) -> Origin:
    """Return where the records come from, once it is there with --wait, else now or with an error."""
    log = logging.getLogger("playlake")

    def on_wait(reason: str) -> None:
        log.warning("waiting: %s", reason)

    if is_kinesis(settings.broker):
        from stream_app.broker import wait_until_there
        from stream_app.kinesis_origin import KinesisOrigin
        from stream_app.kinesis_transport import Share

        stream = stream_of(settings.broker, topic=settings.topic, kafka_options=settings.kafka_option)
        described = wait_until_there(stream.describe, on_wait) if settings.wait else stream.describe()
        number, _, of = settings.worker.partition("/")
        return KinesisOrigin(stream, described.stream_id, Share(int(number), int(of)), lake)

    from stream_app.broker import inspect_topic, wait_for_topic
    from stream_app.origin import KafkaOrigin

    options, name = client_options(settings.broker, settings.kafka_option), settings.topic or ""
    topic = wait_for_topic(options, name, on_wait) if settings.wait else inspect_topic(options, name)
    return KafkaOrigin(options, topic)
