"""Pseudonyms: keyed, the same for the same id, nowhere an id in silver; a wrong key is refused; forget finds them."""

import hashlib
import hmac
import json
from pathlib import Path

import pyarrow as pa
import pytest

from audit.verify import verify
from compaction.gold import refresh
from playlake.cli import main
from playlake.pseudonym_key import VARIABLE, read_key
from schemas.errors import ConfigError
from schemas.tables import SILVER
from sink.lake import Lake
from sink.pseudonyms import Pseudonyms, require_key, settle_key
from sink.writer import LakeWriter
from stream_app.process import Processor
from stream_app.pseudonymous import PseudonymousProcessor, make_processor
from tests import lakes
from tests.bytes_below import files_with
from tests.lake_contents import positions_of
from tests.processing import FILM, TITLES, processor
from tests.records import event_bytes, records, source

KEY = b"0123456789abcdef-a-key"
PSEUDONYMS = Pseudonyms(KEY)
COUNTRIES = pa.table({"code": ["DE"], "region": ["Europe"]})
WHO = "viewer-4711"


@pytest.fixture
def hiding():
    made = make_processor(pa.Table.from_pylist([FILM], schema=TITLES), COUNTRIES, None, PSEUDONYMS)
    assert isinstance(made, PseudonymousProcessor)
    yield made
    made.close()


def theirs(number: int, **changes: object) -> bytes:
    return event_bytes(number, **({"user_id": WHO, "profile_id": f"{WHO}-p1"} | changes))


def flush(lake: Lake, process: Processor, values: list[bytes]) -> None:
    writer = LakeWriter(lake)
    settle_key(lake, PSEUDONYMS)
    rows = records(values, writer.claim({source(): 0})[source()])
    told = process(rows)
    writer.add(rows, told.silver, told.quarantine)
    writer.flush()


@pytest.fixture
def lake(tmp_path, hiding) -> Lake:
    place = Lake.at(str(tmp_path / "lake"))
    values = [theirs(0), event_bytes(1), theirs(2, event_ts="when", note=5), theirs(3)[:-1], event_bytes(4)]
    flush(place, hiding, values)
    return place


def test_a_pseudonym_is_hmac_sha_256_of_column_and_id():
    expected = hmac.new(KEY, b"user_id\0" + WHO.encode(), hashlib.sha256).hexdigest()[:32]
    assert expected == PSEUDONYMS.of("user_id", WHO)
    assert 4 == len({PSEUDONYMS.of(name, who) for name in ("user_id", "profile_id") for who in (WHO, "zoë")})
    assert Pseudonyms(KEY + b"!").of("user_id", WHO) != expected
    assert Pseudonyms(KEY + b"!").key_id != PSEUDONYMS.key_id


def test_all_else_of_a_row_is_as_without_a_key(hiding):
    batch = records([theirs(0), event_bytes(1), b"{", theirs(2, event_ts="when"), theirs(3)])
    plain, hidden = processor()(batch), hiding(batch)
    assert plain.quarantine.equals(hidden.quarantine)
    assert plain.silver.num_rows == hidden.silver.num_rows == 4
    for before, after in zip(plain.silver.to_pylist(), hidden.silver.to_pylist(), strict=True):
        assert PSEUDONYMS.of("user_id", before.pop("user_id")) == after.pop("user_id")
        assert PSEUDONYMS.of("profile_id", before.pop("profile_id")) == after.pop("profile_id")
        payloads = [json.loads(row.pop("raw_payload") or "{}") for row in (before, after)]
        assert payloads[0].keys() == payloads[1].keys()
        changed = {name for name in payloads[0] if payloads[0][name] != payloads[1][name]}
        assert changed <= {"user_id", "profile_id"}
        assert before == after
    assert set(SILVER.names) == set(hidden.silver.column_names)


def test_no_rows_and_rows_without_payloads_pass(hiding):
    assert 0 == hiding(records([b"{"])).silver.num_rows
    assert 1 == hiding(records([theirs(0)])).silver.num_rows


def test_without_a_key_the_processor_is_the_plain_one():
    made = make_processor(pa.Table.from_pylist([FILM], schema=TITLES), COUNTRIES, None, None)
    assert type(made) is Processor
    made.close()


def test_silver_and_gold_hold_no_id_while_bronze_and_quarantine_keep_bytes(lake):
    refresh(lake)
    found = files_with(lake.uri, WHO.encode())
    assert {"bronze", "quarantine"} == {path.split("/")[0] for path in found}
    users = lakes.rows(lake, "select user_id, count(*) from silver group by 1 order by 2, 1")
    assert {(PSEUDONYMS.of("user_id", who), 2) for who in (WHO, "u1")} == {*users}
    assert () == verify(lake).faults


@pytest.mark.parametrize(
    ("pseudonyms", "why"),
    [(None, "give it with --pseudonym-key-file"), (Pseudonyms(b"another key, as long"), "find the right one")],
)
def test_a_lake_with_pseudonyms_refuses_no_key_and_another_key(lake, pseudonyms, why):
    for check in (settle_key, require_key):
        with pytest.raises(ConfigError, match=why):
            check(lake, pseudonyms)
    settle_key(lake, PSEUDONYMS)
    require_key(lake, Pseudonyms(KEY))


def test_a_lake_with_ids_in_the_clear_refuses_a_key(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "bronze", [lakes.record()])
    with pytest.raises(ConfigError, match="ids in the clear"):
        settle_key(lake, PSEUDONYMS)
    settle_key(lake, None)


def test_the_key_comes_from_a_file_or_the_variable(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert read_key(None) is None
    monkeypatch.setenv(VARIABLE, "another key, as long")
    file = tmp_path / "key"
    file.write_bytes(KEY + b"\n")
    from_file, from_variable = read_key(file), read_key(None)
    assert from_file is not None and from_variable is not None
    assert (PSEUDONYMS.key_id, True) == (from_file.key_id, from_variable.key_id != PSEUDONYMS.key_id)
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        read_key(tmp_path / "nothing")
    file.write_bytes(b"short\n")
    with pytest.raises(ConfigError, match="has 5 bytes"):
        read_key(file)


def told(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_forget_finds_pseudonyms_with_the_key_and_refuses_without(lake, capsys, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    code, out, err = told(capsys, "forget", "--user-id", WHO, "--lake", lake.uri)
    assert (2, "", True) == (code, out, "give it with" in err)
    file = Path(tmp_path / "key")
    file.write_bytes(KEY)
    arguments = ("forget", "--user-id", WHO, "--lake", lake.uri, "--pseudonym-key-file", str(file), "--purge")
    assert 0 == told(capsys, *arguments)[0]
    assert [(0, 1), (0, 4)] == positions_of(lake, "silver") == positions_of(lake, "bronze")
    for name in (WHO, PSEUDONYMS.of("user_id", WHO), PSEUDONYMS.of("profile_id", f"{WHO}-p1")):
        assert [] == files_with(lake.uri, name.encode())
    assert () == verify(lake).faults


def test_a_replay_needs_the_key(lake, capsys, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert 2 == told(capsys, "quarantine", "replay", "--lake", lake.uri)[0]
    monkeypatch.setenv(VARIABLE, KEY.decode())
    code, out, _ = told(capsys, "quarantine", "replay", "--lake", lake.uri)
    assert (0, True) == (code, out.startswith("1 records judged again"))
