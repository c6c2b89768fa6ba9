"""Whatever writers do and wherever they are killed, rows are conserved: one bronze row and one fate per position."""

import tempfile

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink.lake import Lake
from sink.writer import LakeWriter
from tests.lake_contents import positions_of
from tests.records import processed, records, source

FLUSH_STEPS = [
    f"{moment} {name}" for name in ("bronze", "quarantine", "silver") for moment in ("before", "after files", "after")
]
CLAIM_STEPS = [
    f"{moment} claim {name}" for name in ("silver", "quarantine", "bronze") for moment in ("before", "after")
]


class Killed(BaseException):
    """Stands for a SIGKILL."""


class World:
    """A topic of two Kafka partitions, two workers, and a kill that may be armed."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.armed: str | None = None
        self.writers: dict[str, LakeWriter | None] = {"a": None, "b": None}
        self.next_offsets: dict[str, dict[int, int]] = {"a": {}, "b": {}}
        self.highest = {0: 0, 1: 0}

    def step(self, name: str) -> None:
        if name == self.armed:
            self.armed = None
            raise Killed(name)

    def act(self, worker: str, action: str, kafka_partition: int, count: int, bad: frozenset[int]) -> None:
        try:
            self._act(worker, action, kafka_partition, count, bad)
        except Killed:
            self.writers[worker] = None

    def _act(self, worker: str, action: str, kafka_partition: int, count: int, bad: frozenset[int]) -> None:
        writer = self.writers[worker]
        if writer is None:
            writer = self.writers[worker] = LakeWriter(self.lake, step=self.step)
            self.next_offsets[worker] = {}
        if action == "claim" or (action == "read" and source(kafka_partition) not in writer.owned):
            claimed = writer.claim({source(kafka_partition): 0})
            self.next_offsets[worker][kafka_partition] = claimed[source(kafka_partition)]
        if action == "read":
            first = self.next_offsets[worker][kafka_partition]
            batch = records([b"{}"] * count, first, kafka_partition)
            writer.add(*processed(batch, frozenset(first + offset for offset in bad)))
            self.next_offsets[worker][kafka_partition] = first + count
            self.highest[kafka_partition] = max(self.highest[kafka_partition], first + count)
        if action == "release":
            writer.release([source(kafka_partition)])
        if action == "flush":
            writer.flush()

    def finish(self) -> None:
        """One last worker reads everything to the end."""
        self.armed = None
        last = LakeWriter(self.lake)
        for kafka_partition, end in self.highest.items():
            first = last.claim({source(kafka_partition): 0})[source(kafka_partition)]
            if first < end:
                last.add(*processed(records([b"{}"] * (end - first), first, kafka_partition)))
        last.flush()


workers, kafka_partitions = st.sampled_from("ab"), st.integers(0, 1)
reads = st.tuples(
    workers, st.just("read"), kafka_partitions, st.integers(1, 5), st.frozensets(st.integers(0, 4)), st.none()
)


def others(action: str, kills: list[str]) -> st.SearchStrategy:
    kill_at = st.none() | st.sampled_from(kills) if kills else st.none()
    return st.tuples(workers, st.just(action), kafka_partitions, st.just(0), st.just(frozenset()), kill_at)


actions = reads | reads | others("flush", FLUSH_STEPS) | others("claim", CLAIM_STEPS) | others("release", [])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(actions, max_size=25))
def test_rows_are_conserved(plan):
    with tempfile.TemporaryDirectory() as folder:
        world = World(Lake.at(folder))
        for worker, action, kafka_partition, count, bad, kill_at in plan:
            world.armed = kill_at
            world.act(worker, action, kafka_partition, count, bad)
        world.finish()
        expected = [(number, offset) for number, end in world.highest.items() for offset in range(end)]
        assert expected == positions_of(world.lake, "bronze")
        assert expected == sorted(positions_of(world.lake, "silver") + positions_of(world.lake, "quarantine"))
