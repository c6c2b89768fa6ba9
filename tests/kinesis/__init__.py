"""A Kinesis API for tests: kinesalite, which splits and merges shards rightly, as a local Node process through npm.

What it gets wrong (each is simulated in a stub where a test needs it): it never throttles, `MillisBehindLatest` is
always 0, and the last answer of a closed shard names no child shards. In a test, ask for the fixture `kinesis`.
"""

from tests.kinesis.kinesalite import Kinesalite, NoKinesis, prepare

__all__ = ["Kinesalite", "NoKinesis", "prepare"]
