"""The simulated viewers and how their events reach a broker."""

from producer.avro import AvroSink
from producer.kafka import KafkaSink, ensure_topic
from producer.lines import LineSink
from producer.send import Sent, Sink, send
from producer.simulate import Block, Scenario, blocks, records

__all__ = [
    "AvroSink",
    "Block",
    "KafkaSink",
    "LineSink",
    "Scenario",
    "Sent",
    "Sink",
    "blocks",
    "ensure_topic",
    "records",
    "send",
]
