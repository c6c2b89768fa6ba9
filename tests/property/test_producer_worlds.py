"""Any scenario gives whole sessions, the number of records asked for, and the same bytes however it is cut."""

import collections
import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from producer import Scenario, blocks

START_MS = 1_795_000_000_000

scenarios = st.builds(
    Scenario,
    start_ms=st.integers(1_000_000_000_000, 2_000_000_000_000),
    seed=st.integers(0, 2**70),
    events=st.integers(1, 4_000),
    days=st.floats(1e-6, 400),
    dirty=st.just(0.0) | st.floats(0, 1),
    rate_per_s=st.none() | st.floats(0.01, 1e6),
)


@settings(max_examples=60, deadline=None)
@given(scenarios, st.integers(1, 5_000))
def test_cutting_changes_nothing(scenario, block_events):
    whole = [(*pair,) for block in blocks(scenario) for pair in zip(block.keys, block.values, block.kinds, strict=True)]
    cut = list(blocks(scenario, block_events))
    assert scenario.events == len(whole)
    assert all(block_events == len(block) for block in cut[:-1])
    assert whole == [(*pair,) for block in cut for pair in zip(block.keys, block.values, block.kinds, strict=True)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    events=st.integers(2, 4_000),
    days=st.floats(1e-6, 400),
    start=st.integers(10**12, 2 * 10**12),
)
def test_past_is_made_of_whole_sessions(seed, events, days, start):
    of_session = collections.defaultdict(list)
    for block in blocks(Scenario(start, seed=seed, events=events, days=days)):
        for value in block.values:
            event = json.loads(value)
            of_session[event["session_id"]].append(event)
    for session in of_session.values():
        types = [event["event_type"] for event in session]
        assert ("PLAY_START", "PLAY_STOP") == (types[0], types[-1])
        assert 2 == sum(name.startswith("PLAY_ST") for name in types)
        assert session[0]["event_ts"] >= start / 1000
        for one, other in itertools.pairwise(session):
            assert other["event_ts"] >= one["event_ts"]
            assert other["playhead_s"] >= 0
            if other["event_type"] != "SEEK":
                assert other["playhead_s"] >= one["playhead_s"]
