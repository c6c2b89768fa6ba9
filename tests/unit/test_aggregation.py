"""Packed records: what the reference packer packs is unpacked; what is no packed record stays as it is."""

from __future__ import annotations

import hashlib

from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given
from hypothesis import strategies as st

from kinesis.aggregation import MAGIC, unpack


def packed(records: list[tuple[str, bytes]]) -> bytes:
    packer = RecordAggregator()
    for key, value in records:
        assert packer.add_user_record(key, value) is None, "more than one record holds"
    _, _, content = packer.clear_and_get().get_contents()
    return bytes(content)


def sealed(message: bytes) -> bytes:
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), st.binary()), min_size=1))
def test_what_the_reference_packs_comes_back_in_order(records: list[tuple[str, bytes]]) -> None:
    assert records == unpack(packed(records))


@given(st.binary(max_size=200))
def test_any_bytes_are_packed_records_or_none(content: bytes) -> None:
    assert unpack(content) is None
    found = unpack(sealed(content))
    assert found is None or all(isinstance(key, str) and isinstance(value, bytes) for key, value in found)


def test_a_broken_one_is_a_record_as_it_is() -> None:
    whole = packed([("u1", b"one"), ("u2", b"two")])
    assert unpack(whole[:-1]) is None
    assert unpack(whole[:10] + b"x" + whole[11:]) is None
    assert unpack(MAGIC) is None


def test_a_key_longer_than_kinesis_takes_makes_no_packed_record() -> None:
    assert unpack(packed([("k" * 256, b"")])) is not None
    assert unpack(packed([("k" * 257, b"")])) is None


def test_a_record_that_names_no_key_of_the_table_is_no_packed_one() -> None:
    assert unpack(sealed(b"\x1a\x04\x08\x05\x1a\x00")) is None
