"""Any bytes get exactly one fate, and the step is pure: what surrounds a record changes nothing."""

import datetime as dt
import json

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.avro_columns import AvroDecoder
from schemas.event import REASONS, WARNINGS
from schemas.wire import frame
from tests.avro import avro_bytes, schema_text
from tests.processing import processor
from tests.records import event, records

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["s1", "DE"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
field_names = st.sampled_from([*event(), "content_id", "client_ts", "extra"])
mutated_events = st.dictionaries(field_names, json_values, max_size=4).map(
    lambda changes: json.dumps({**event(), **changes}).encode()
)
cut = st.tuples(mutated_events, st.integers(0, 300)).map(lambda pair: pair[0][: pair[1]])
framed = st.tuples(st.integers(0, 2), st.binary(max_size=60)).map(lambda pair: frame(*pair))
cut_avro = st.integers(0, 150).map(lambda length: avro_bytes()[:length])
values = st.none() | st.binary(max_size=60) | mutated_events | cut | framed | cut_avro | st.just(avro_bytes())
KNOWN = {1: AvroDecoder(schema_text()), 2: "no Avro schema"}
unhurried = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(st.lists(values, max_size=40))
def test_every_record_is_in_exactly_one_of_silver_and_quarantine(batch):
    out = processor()(records(batch), KNOWN)
    silver = out.silver["kafka_offset"].to_pylist()
    quarantine = out.quarantine["kafka_offset"].to_pylist()
    assert list(range(len(batch))) == sorted(silver + quarantine)
    dates = [row or dt.date.max for row in out.silver["event_date"].to_pylist()]
    assert sorted(zip(dates, silver, strict=True)) == list(zip(dates, silver, strict=True))
    assert [batch[offset] for offset in quarantine] == out.quarantine["value"].to_pylist()
    for reasons in out.quarantine["reasons"].to_pylist():
        assert reasons
        assert set(reasons) <= set(REASONS)
    for row in out.silver.to_pylist():
        assert set(row["warnings"]) <= set(WARNINGS)
        assert 0.0 <= row["quality_score"] <= 1.0
        assert (row["event_date"] is None) == (row["event_timestamp"] is None) == (row["raw_payload"] is not None)


@unhurried
@given(st.lists(values, min_size=1, max_size=20), st.data())
def test_a_records_fate_does_not_depend_on_its_neighbours(batch, data):
    together = processor()(records(batch), KNOWN)
    offset = data.draw(st.integers(0, len(batch) - 1))
    alone = processor()(records([batch[offset]], first_offset=offset), KNOWN)
    for name in ("silver", "quarantine"):
        rows = getattr(together, name)
        mask = pa.array([found == offset for found in rows["kafka_offset"].to_pylist()], pa.bool_())
        assert getattr(alone, name).to_pylist() == rows.filter(mask).to_pylist()
