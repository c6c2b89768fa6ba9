"""Keys of an S3 API reach no output, no exception and no repr, also where its answers repeat them."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from query import connect
from schemas.errors import StoreUnavailable
from sink.lake import Lake
from sink.writer import LakeWriter
from tests.broker import Broker
from tests.conftest import MakeTopic
from tests.s3 import S3
from tests.s3.flaky import DENIED, FlakyS3
from tests.workers import playlake


@pytest.fixture
def denied(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyS3]:
    """An S3 API, the tests' own variables leading there, that answers every request with the key's id and an error."""
    refusing = FlakyS3(s3, random.Random(0))
    refusing.shares = DENIED
    for name, value in refusing.env.items():
        monkeypatch.setenv(name, value)
    yield refusing
    refusing.close()


def told(text: str, s3: S3) -> list[str]:
    """The secrets that a text holds."""
    return [secret for secret in s3.secrets if secret in text]


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["verify"], ["query", "select count(*) from silver"], ["compact"], ["repair"], ["gold"]],
    ids=lambda arguments: arguments[0],
)
def test_a_verb_tells_why_it_is_refused_and_no_key(denied: FlakyS3, s3: S3, arguments: list[str]) -> None:
    verb, *rest = arguments
    done = playlake(verb, "--lake", f"s3://{s3.bucket}/lake", *rest, env=denied.env)
    assert 2 == done.returncode
    assert "SignatureDoesNotMatch" in done.stderr
    assert "Traceback" not in done.stderr
    assert [] == told(done.stdout + done.stderr, s3)


@pytest.mark.broker
def test_a_verbose_worker_tells_why_it_is_refused_and_no_key(
    denied: FlakyS3, s3: S3, broker: Broker, topic: MakeTopic
) -> None:
    where = ["--broker", broker.url, "--topic", topic(), "--lake", f"s3://{s3.bucket}/lake"]
    done = playlake("stream", *where, "--verbose", env=denied.env)
    assert 2 == done.returncode
    assert "SignatureDoesNotMatch" in done.stderr
    assert [] == told(done.stdout + done.stderr, s3)


@pytest.mark.parametrize(
    "step",
    [
        lambda lake: lake.table("silver"),
        lambda lake: LakeWriter(lake),
        lambda lake: lake.put("silver", {"event_date=2026-11-21/part.parquet": pa.py_buffer(b"content")}),
        lambda lake: connect(lake.uri),
    ],
    ids=["table", "writer", "put", "query"],
)
def test_a_traceback_holds_no_key(denied: FlakyS3, s3: S3, step: Callable[[Lake], object]) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        step(Lake.at(f"s3://{s3.bucket}/lake"))
    assert [] == told("".join(traceback.format_exception(raised.value)), s3)


def test_what_leads_to_a_store_does_not_show_its_keys(denied: FlakyS3, s3: S3) -> None:
    lake = Lake.at(f"s3://{s3.bucket}/lake")
    filesystem = lake.filesystem()
    assert [] == told(f"{lake!r} {vars(lake)} {lake.storage_options} {filesystem!r} {filesystem.to_json()}", s3)
