"""Sending: pace, end, counts, and what happens to records that do not arrive."""

import io
import itertools
import json
import time

import pytest
from confluent_kafka import Consumer, TopicPartition

from playlake.cli import main
from producer import KafkaSink, LineSink, Scenario, blocks, ensure_topic, send
from schemas.errors import BrokerUnavailable, ConfigError
from schemas.event import EVENT_VERSIONS

START_MS = 1_795_000_000_000
NOBODY = "127.0.0.1:1"


class Clock:
    """A time that passes only when somebody sleeps."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


class Log:
    """A sink that writes down what it is told, with the time."""

    def __init__(self, clock=time.monotonic):
        self.clock = clock
        self.actions = []

    def write(self, block):
        self.actions.append((round(self.clock(), 6), len(block)))

    def flush(self):
        self.actions.append("flushed")


def of(events, block_events=10, **scenario):
    return blocks(Scenario(START_MS, events=events, **scenario), block_events)


def test_all_blocks_are_sent_and_then_flushed():
    clock = Clock()
    log = Log(clock)
    sent = send(of(25), log, clock=clock, sleep=clock.sleep)
    assert [(100.0, 10), (100.0, 10), (100.0, 5), "flushed"] == log.actions
    assert (25, True) == (sent.events, sent.is_complete)


def test_counts_are_of_what_was_sent():
    sent = send(of(5_000, 100, dirty=0.5), Log())
    told = [(kind, len(value)) for kind, value in _kinds_and_values(5_000, 0.5)]
    assert {kind: sum(kind == other for other, _ in told) for kind in {kind for kind, _ in told}} == sent.by_kind
    assert sum(size for _, size in told) == sent.value_bytes
    assert 5_000 == sum(sent.by_kind.values())


def _kinds_and_values(events, dirty):
    from producer import records

    return [(kind, value) for _, value, _, kind in records(Scenario(START_MS, events=events, dirty=dirty))]


def test_rate_is_kept_by_sending_a_block_when_its_last_record_is_due():
    clock = Clock()
    log = Log(clock)
    send(of(40), log, rate_per_s=20, clock=clock, sleep=clock.sleep)
    assert [(100.5, 10), (101.0, 10), (101.5, 10), (102.0, 10), "flushed"] == log.actions


def test_slow_sink_is_caught_up_with_not_slowed_down_further():
    clock = Clock()
    log = Log(clock)
    delays = iter([3.0, 0.0, 0.0, 0.0])
    send(of(40), log, rate_per_s=10, clock=clock, sleep=clock.sleep, before_block=lambda _: clock.sleep(next(delays)))
    assert [(103.0, 10), (103.0, 10), (103.0, 10), (104.0, 10), "flushed"] == log.actions


def test_duration_ends_an_endless_world():
    clock = Clock()
    log = Log(clock)
    sent = send(of(None, rate_per_s=20), log, rate_per_s=20, duration_s=1.5, clock=clock, sleep=clock.sleep)
    assert (30, True) == (sent.events, sent.is_complete)


def test_stop_flushes_what_was_sent():
    log = Log()
    asked = itertools.count()
    sent = send(of(None), log, should_stop=lambda: next(asked) >= 6)
    assert "flushed" == log.actions[-1]
    assert 10 * (len(log.actions) - 1) == sent.events
    assert not sent.is_complete


def test_hooks_hear_how_many_were_sent():
    before, after = [], []
    send(of(25), Log(), before_block=before.append, after_block=after.append)
    assert [0, 10, 20] == before
    assert [10, 20, 25] == after


def test_line_sink_writes_a_value_a_line():
    stream = io.BytesIO()
    send(of(25), LineSink(stream))
    assert [value for block in of(25) for value in block.values] == stream.getvalue().splitlines()


def test_kafka_gets_every_record_a_user_in_one_kafka_partition_and_in_order(built_in_broker):
    options = {"bootstrap.servers": built_in_broker}
    ensure_topic(options, "sent", 4)
    expected = [
        (key, value) for block in of(3_000, dirty=0.1) for key, value in zip(block.keys, block.values, strict=True)
    ]
    sent = send(of(3_000, dirty=0.1), KafkaSink(options, "sent"))
    received = {}
    consumer = Consumer({**options, "group.id": "test", "enable.partition.eof": False})
    consumer.assign([TopicPartition("sent", number, 0) for number in range(4)])
    while sum(map(len, received.values())) < sent.events:
        for message in consumer.consume(1000, 10):
            assert message.error() is None
            received.setdefault(message.partition(), []).append((message.key(), message.value() or b""))
    consumer.close()
    partition_of = {key: number for number, pairs in received.items() for key, _ in pairs}
    for number, pairs in received.items():
        assert [pair for pair in expected if partition_of[pair[0]] == number] == pairs
    assert len(received) > 1


def test_full_queue_waits_and_keeps_the_order(built_in_broker):
    options = {"bootstrap.servers": built_in_broker, "queue.buffering.max.messages": "7"}
    ensure_topic(options, "narrow", 1)
    assert 100 == send(of(100), KafkaSink(options, "narrow")).events


def test_records_that_are_not_acknowledged_are_an_error():
    sink = KafkaSink({"bootstrap.servers": NOBODY, "message.timeout.ms": "50"}, "t")
    with pytest.raises(BrokerUnavailable, match=r"10 records or more were not acknowledged by the broker 127.0.0.1:1"):
        send(of(10), sink)


def test_record_that_the_client_refuses_is_an_error():
    sink = KafkaSink({"bootstrap.servers": NOBODY, "message.max.bytes": "1000"}, "t")
    block = next(of(1))
    with pytest.raises(ConfigError, match="2720 bytes can't go to topic 't'"):
        sink.write(type(block)(block.keys, [b"x" * 2720], block.kinds))


def test_unknown_broker_is_named(monkeypatch):
    monkeypatch.setattr("producer.kafka._ANSWER_WITHIN_S", 0.1)
    with pytest.raises(BrokerUnavailable, match=r"127.0.0.1:1 .*is it running"):
        ensure_topic({"bootstrap.servers": NOBODY}, "t", 1)


def test_setting_that_librdkafka_does_not_know_is_named():
    with pytest.raises(ConfigError, match="no such thing"):
        ensure_topic({"bootstrap.servers": NOBODY, "no such thing": "1"}, "t", 1)
    with pytest.raises(ConfigError, match="no such thing"):
        KafkaSink({"bootstrap.servers": NOBODY, "no such thing": "1"}, "t")


def produce(*words):
    return main(["produce", *words])


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_produce_writes_the_same_file_for_the_same_seed_and_start(tmp_path, capsys):
    same = ("--events", "2000", "--dirty", "0.1", "--start", "2026-11-01T00:00:00Z")
    assert 0 == produce("--broker", f"file:{tmp_path}/one", *same)
    assert 0 == produce("--broker", f"file:{tmp_path}/other", "--seed", "7", *same)
    assert 0 == produce("--broker", f"file:{tmp_path}/another", "--seed", "8", *same)
    one, other, another = ((tmp_path / name).read_bytes() for name in ("one", "other", "another"))
    assert one == other
    assert one != another
    assert "2,000 events in" in capsys.readouterr().out


def test_produce_prints_the_start_that_makes_it_repeatable(tmp_path, capsys):
    assert 0 == produce("--broker", f"file:{tmp_path}/one", "--events", "500")
    words = capsys.readouterr().err.split()
    start = words[words.index("--start") + 1]
    assert 0 == produce("--broker", f"file:{tmp_path}/other", "--events", "500", "--start", start)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_produce_writes_the_version_of_the_event_that_is_asked_for(tmp_path):
    has_it = {}
    for version in EVENT_VERSIONS:
        assert 0 == produce("--broker", f"file:{tmp_path}/{version}", "--events", "9", "--schema-version", str(version))
        has_it[version] = ["audio_language" in line for line in (tmp_path / str(version)).read_text().splitlines()]
    assert {1: [False] * 9, 2: [True] * 9} == has_it


def test_produce_reports_counts_as_json(tmp_path, capsys):
    assert 0 == produce("--broker", f"file:{tmp_path}/one", "--events", "1000", "--dirty", "1", "--json")
    report = json.loads(capsys.readouterr().out)
    assert 1_000 == report["events"] == sum(report["by_kind"].values())
    assert (tmp_path / "one").stat().st_size == report["value_bytes"] + 1_000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--broker", "kafka://h:1"), "--topic is needed"),
        (("--broker", "amqp://eu-central-1/s"), "is no broker's address"),
        (("--broker", "kinesis://eu-central-1"), "is no stream's address"),
        (("--broker", "-", "--json"), "both want standard output"),
        (("--broker", "-", "--events", "1", "--duration", "1s"), "--events or --duration, not both"),
        (("--broker", "-", "--dirty", "2"), "--dirty"),
        (("--broker", "-", "--schema-version", "3"), "--schema-version 3 is none of 1, 2"),
        (("--broker", "-", "--start", "1999-01-01"), "--start"),
        (("--broker", "file:/no/such/folder/x"), "can't be written"),
        (("--broker", "file:/dev/full", "--events", "5"), "can't be written: No space left on device"),
    ],
)
def test_produce_says_in_a_line_what_is_wrong(words, expected, capsys):
    assert 2 == produce(*words)
    assert expected in capsys.readouterr().err.splitlines()[-1]
