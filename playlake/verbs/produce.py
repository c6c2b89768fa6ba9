"""`playlake produce`: simulated viewers send their playback events."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from playlake.broker import client_options, is_kinesis, stream_of
from playlake.progress import progress
from playlake.settings import Duration, VerbSettings
from schemas.errors import StoreUnavailable
from schemas.event import EVENT_VERSIONS, avro_versions

if TYPE_CHECKING:
    from producer import Scenario, Sent, Sink


class Settings(VerbSettings):
    """Simulate viewers and send their playback events to a topic, which is made when it isn't there.

    A Kinesis stream is not made, since it costs money; its partition key is the user, and region, credentials and
    endpoint are the usual AWS ones.

    The same --seed, --start, --days, --events, --dirty and --schema-version give the same bytes. Without --rate the
    events are sent as fast as they go, and their times cover --days from --start on. With --rate their times follow the
    clock from --start on (default: now).

    With --format avro each event is Avro in Confluent's wire format, its schema registered as TOPIC-value; records that
    the schema can't hold (--dirty) stay JSON.

    Example:
        playlake produce --broker kafka://localhost:9092 --topic playback_events --events 1000000 --dirty 0.02
    """

    verb: ClassVar[str] = "produce"

    broker: str = Field(
        description="kafka://host:port[,host:port], kinesis://REGION/STREAM, file:PATH, or - for standard output"
    )
    topic: str | None = Field(None, description="topic to send to; needed with kafka://")
    events: int | None = Field(None, ge=1, description="how many records; default: 1,000,000, or no end with --rate")
    duration: Duration | None = Field(None, description="send for this long, such as 60s, instead of --events")
    rate: float | None = Field(None, gt=0, description="records a second; default: as fast as they go")
    seed: int = Field(7, ge=0, description="another seed is another world")
    format: Literal["json", "avro"] = Field("json", description="how events are written; avro needs --schema-registry")
    schema_registry: str | None = Field(None, description="http(s)://HOST:PORT[/PATH], a folder of schemas, or mock://")
    registry_option: list[str] = Field([], description="schema registry client's setting, such as ssl.ca.location=FILE")
    schema_version: int = Field(
        EVENT_VERSIONS[-1], description="of the event: 2 adds audio_language, bitrate_kbps, ab_bucket"
    )
    dirty: float = Field(0.0, ge=0, le=1, description="share of bad records, such as 0.02")
    days: float = Field(3.0, gt=0, description="span of the event times, without --rate")
    start: datetime | None = Field(None, description="first event time (ISO 8601, UTC); default: now less --days")
    partitions: int = Field(4, ge=1, description="Kafka partitions of a topic that is made")
    kafka_option: list[str] = Field([], description="librdkafka setting name=value, such as security.protocol=SSL")
    # `as_json` on the command line is --json, as for every verb
    as_json: bool = Field(False, alias="json", description="print the counts as one JSON object")

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.events is not None and self.duration is not None:
            raise ValueError("give --events or --duration, not both")
        if self.broker.startswith("kafka://") and self.topic is None:
            raise ValueError("--topic is needed (or the variable PLAYLAKE_TOPIC, or topic in playlake.toml)")
        if self.format == "avro" and self.schema_registry is None:
            raise ValueError("--format avro needs --schema-registry URL, a folder of schemas, or mock://")
        if self.format == "avro" and not self.broker.startswith(("kafka://", "kinesis://")):
            raise ValueError("--format avro needs --broker kafka://… or kinesis://…: its bytes make no lines")
        if self.broker == "-" and self.as_json:
            raise ValueError("--json and --broker - both want standard output")
        return self


def run(settings: Settings) -> int:
    """Produce; see `Settings`. Ctrl-C ends it early with what was queued delivered, and exit code 130."""
    from producer import blocks, send

    scenario = _scenario(settings)
    block_events = 5_000 if settings.rate is None else max(1, min(5_000, int(settings.rate / 20)))
    with _sink(settings) as sink:
        start = f"{_time(scenario.start_ms):%Y-%m-%dT%H:%M:%S}.{scenario.start_ms % 1000:03}Z"
        print(f"playlake produce: the same again with --seed {settings.seed} --start {start}", file=sys.stderr)
        with progress("sent", scenario.events) as on_sent, _until_interrupted() as is_interrupted:
            sent = send(
                blocks(scenario, block_events),
                sink,
                rate_per_s=settings.rate,
                duration_s=settings.duration,
                after_block=on_sent,
                should_stop=is_interrupted,
            )
    _report(settings, sent, start)
    return 0 if sent.is_complete else 130


def _scenario(settings: Settings) -> Scenario:
    from producer import Scenario
    from producer.simulate import DEFAULT_EVENTS

    if settings.start is not None:
        start = settings.start if settings.start.tzinfo is not None else settings.start.replace(tzinfo=UTC)
        start_ms = round(start.timestamp() * 1000)
    else:
        start_ms = round((time.time() - (settings.days * 86_400 if settings.rate is None else 0)) * 1000)
    events = settings.events
    if events is None and settings.duration is None and settings.rate is None:
        events = DEFAULT_EVENTS
    return Scenario(
        start_ms=start_ms,
        seed=settings.seed,
        events=events,
        days=settings.days,
        dirty=settings.dirty,
        rate_per_s=settings.rate,
        schema_version=settings.schema_version,
    )


def _time(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms // 1000, UTC)


@contextmanager
def _sink(settings: Settings) -> Iterator[Sink]:
    from producer import KafkaSink, LineSink, ensure_topic

    if settings.broker == "-" or settings.broker.startswith("file:"):
        is_file = settings.broker != "-"
        target = Path(settings.broker.removeprefix("file:")) if is_file else sys.stdout.fileno()
        try:
            with open(target, "wb", closefd=is_file) as stream:
                yield LineSink(stream)
        except BrokenPipeError:  # the reader of our output went away: no error of this verb's
            raise
        except OSError as error:
            raise StoreUnavailable(f"--broker {settings.broker} can't be written: {error.strerror}") from error
    elif is_kinesis(settings.broker):
        from producer.kinesis import KinesisSink

        kinesis = stream_of(settings.broker, topic=settings.topic, kafka_options=settings.kafka_option)
        kinesis.describe()  # a stream that isn't there is told now, not after the first block
        with closing(KinesisSink(kinesis)) as to_kinesis:
            yield to_kinesis if settings.format == "json" else _avro_sink(settings, to_kinesis, kinesis.name)
    else:
        options = client_options(settings.broker, settings.kafka_option)
        topic = settings.topic or ""
        if ensure_topic(options, topic, settings.partitions):
            print(
                f"playlake produce: made the topic {topic!r} with {settings.partitions} Kafka partitions",
                file=sys.stderr,
            )
        sink = KafkaSink(options, topic)
        yield sink if settings.format == "json" else _avro_sink(settings, sink, topic)


def _avro_sink(settings: Settings, sink: Sink, topic: str) -> Sink:
    from playlake.registry import open_registry
    from producer import AvroSink

    schema = json.dumps(avro_versions()[settings.schema_version])
    with closing(open_registry(settings.schema_registry or "", settings.registry_option)) as registry:
        return AvroSink(sink, schema, registry.register(f"{topic}-value", schema))


@contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether Ctrl-C was pressed; a second time it stops at once."""
    pressed: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def _report(settings: Settings, sent: Sent, start: str) -> None:
    per_s = round(sent.events / sent.elapsed_s) if sent.elapsed_s > 0 else 0
    if settings.as_json:
        report = {
            "events": sent.events,
            "by_kind": sent.by_kind,
            "value_bytes": sent.value_bytes,
            "seconds": round(sent.elapsed_s, 3),
            "events_per_s": per_s,
            "seed": settings.seed,
            "start": start,
            "is_complete": sent.is_complete,
        }
        print(json.dumps(report))
        return
    kinds = ", ".join(f"{name} {count:,}" for name, count in sent.by_kind.items())
    print(
        f"{sent.events:,} events in {sent.elapsed_s:.1f} s ({per_s:,} events/s){': ' if kinds else ''}{kinds}",
        file=sys.stderr if settings.broker == "-" else sys.stdout,
    )
