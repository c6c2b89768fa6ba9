"""One Kinesis data stream, as its producer, its worker and its auditor need it; the only place that knows boto3."""

from kinesis.aggregation import unpack
from kinesis.client import Answer, Description, IteratorExpired, Record, Shard, Stream, open_stream

__all__ = [
    "Answer",
    "Description",
    "IteratorExpired",
    "Record",
    "Shard",
    "Stream",
    "open_stream",
    "unpack",
]
