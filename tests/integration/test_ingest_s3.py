"""`playlake ingest` from a bucket: by listing, told by a queue, and what each round asks of S3."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from audit.verify import verify
from landing import aws
from landing.place import Bucket, File, FileGone, open_place
from sink.faults import VARIABLE
from sink.lake import Lake
from tests.ingesting import FilesLedger, Ingests, ingests_of
from tests.ledger import events
from tests.s3.server import S3, filesystem, start

REGION = "us-east-1"
PREFIX = "firehose/"


@pytest.fixture(scope="module")
def aws_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """S3 and SQS, the one telling the other."""
    server = start(tmp_path_factory.mktemp("moto"), "moto")
    yield server
    server.close()


@pytest.fixture
def client(aws_api: S3) -> Callable[[str], Any]:
    def make(service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=aws_api.env["AWS_ENDPOINT_URL"],
            aws_access_key_id=aws_api.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=aws_api.env["AWS_SECRET_ACCESS_KEY"],
        )

    return make


@pytest.fixture
def bucket(client: Callable[[str], Any], request: pytest.FixtureRequest) -> str:
    name = f"b{abs(hash(request.node.name)) % 10**12}"
    client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def files(client: Callable[[str], Any], bucket: str) -> FilesLedger:
    s3 = client("s3")
    return FilesLedger(lambda name, data: s3.put_object(Bucket=bucket, Key=PREFIX + name, Body=data))


@pytest.fixture
def queue_url(client: Callable[[str], Any], bucket: str) -> str:
    """A queue that S3 tells of the bucket's new objects."""
    sqs = client("sqs")
    url: str = sqs.create_queue(QueueName=bucket, Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    told = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    client("s3").put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=told)
    return url


@pytest.fixture
def ingests(aws_api: S3, bucket: str, tmp_path: Path) -> Iterator[Ingests]:
    with ingests_of(f"s3://{bucket}/{PREFIX}", tmp_path / "lake", tmp_path, aws_api.env) as started:
        yield started


@pytest.fixture
def place(aws_api: S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in aws_api.env.items():
        monkeypatch.setenv(name, value)
    found = open_place(f"s3://{bucket}/{PREFIX}")
    assert isinstance(found, Bucket)
    return found


def asked(place: Bucket) -> Counter[str]:
    """Count the requests of a place's client from now on."""
    counts: Counter[str] = Counter()
    place._client.meta.events.register("before-call.s3", lambda model, **_: counts.update([model.name]))
    return counts


def messages(client: Callable[[str], Any], url: str) -> int:
    """Messages in a queue, those given out and not yet deleted among them."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(told[name]) for name in names)


def test_by_listing(ingests: Ingests, files: FilesLedger, tmp_path: Path) -> None:
    files.put_side_by_side("2026/11/21/22/stream-1", events(300, bad_every=1000))
    files.put("2026/11/21/22/stream 2+ä.json.gz", events(300, first=300), gzip.compress)
    assert 2 == ingests.once().report["files"]
    files.put("2026/11/21/23/stream-3.json", events(300, first=600))
    assert (1, 300) == (lambda report: (report["files"], report["bronze"]))(ingests.once().report)
    files.agrees_with(tmp_path / "lake")
    assert () == verify(Lake.at(str(tmp_path / "lake"))).faults


def test_into_a_lake_on_s3_also_after_a_kill(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    root = f"{s3.bucket}/{request.node.name}"
    files = FilesLedger(lambda name, data: filesystem(s3).pipe({f"{root}/in/{name}": data}))
    files.put("a.json", events(300))
    with ingests_of(f"s3://{root}/in", f"s3://{root}/lake", tmp_path, s3.env) as started:
        doomed = started.start(env={VARIABLE: "after bronze"})
        assert -9 == doomed.exit_code()
        files.put("b.json.gz", events(300, first=300), gzip.compress)
        started.once()
        assert 0 == started.once().report["files"]
    files.agrees_with(f"s3://{root}/lake")
    assert () == verify(Lake.at(f"s3://{root}/lake"), place=open_place(f"s3://{root}/in")).faults


def test_listing_begins_behind_a_name_and_asks_for_no_page_before_it(
    place: Bucket, client: Callable[[str], Any], bucket: str
) -> None:
    s3 = client("s3")
    for number in range(2050):  # more than two pages of a thousand names
        s3.put_object(Bucket=bucket, Key=f"{PREFIX}2026/{number:04}", Body=b"{}")
    s3.put_object(Bucket=bucket, Key="other/0000", Body=b"{}")
    counts = asked(place)
    assert [f"2026/{number:04}" for number in range(2050)] == [file.path for file in place.files()]
    assert 3 == counts["ListObjectsV2"]
    counts.clear()
    assert [f"2026/{number:04}" for number in range(2045, 2050)] == [file.path for file in place.files("2026/2044")]
    assert Counter(ListObjectsV2=1) == counts


def test_an_object_that_changed_since_it_was_listed_is_not_read(place: Bucket, files: FilesLedger) -> None:
    files.put("a.json", [b"1"])
    [listed] = place.files()
    with place.open(listed) as opened:
        assert b"1\n" == opened.read()
    files.put("a.json", [b"2"])
    with pytest.raises(FileGone, match="has changed since it was listed"):
        place.open(listed)
    with pytest.raises(FileGone, match="is no longer there"):
        place.open(File("b.json", 1, listed.etag, 0))
    assert place.file("b.json") is None
    changed = place.file("a.json")
    assert changed is not None
    assert not changed.is_same(listed)


def test_told_by_a_queue_each_file_once_and_messages_go_with_the_commit(
    ingests: Ingests, files: FilesLedger, queue_url: str, client: Callable[[str], Any], tmp_path: Path, bucket: str
) -> None:
    lake = tmp_path / "lake"
    told = ("--notifications", f"sqs://{REGION}/{bucket}")
    files.put("before.json", events(100))
    assert 1 == ingests.once(*told).report["files"]
    assert 0 == messages(client, queue_url)
    files.put("one two+ä.json", events(100, first=100))
    files.put("a.json.gz", events(100, first=200), gzip.compress)
    client("s3").put_object(Bucket=bucket, Key="elsewhere/x.json", Body=b"{}")
    client("sqs").send_message(QueueUrl=queue_url, MessageBody="no notification")
    run = ingests.once(*told)
    assert 2 == run.report["files"]
    assert run.lines("0 looked at"), "nothing was listed"
    assert run.lines("is no notification of S3; it is let go")
    assert 0 == messages(client, queue_url)
    files.agrees_with(lake)


def test_a_message_given_again_after_a_kill_doubles_nothing(
    ingests: Ingests, files: FilesLedger, queue_url: str, client: Callable[[str], Any], tmp_path: Path, bucket: str
) -> None:
    told = ("--notifications", f"sqs://{REGION}/{bucket}")
    ingests.once(*told)
    files.put("a.json", events(500))
    doomed = ingests.start(*told, env={VARIABLE: "after silver"})
    assert -9 == doomed.exit_code()
    assert 0 < messages(client, queue_url), "it was not let go before the round's end"
    again = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}}}]}
    again["Records"][0]["s3"]["object"] = {"key": f"{PREFIX}a.json"}  # type: ignore[index]
    for body in (again, {"TopicArn": "x", "Message": json.dumps(again)}):
        client("sqs").send_message(QueueUrl=queue_url, MessageBody=json.dumps(body))
    detail = {"bucket": {"name": bucket}, "object": {"key": f"{PREFIX}b.json"}}
    files.put("b.json", events(10, first=500))
    event = {"detail-type": "Object Created", "detail": detail}
    client("sqs").send_message(QueueUrl=queue_url, MessageBody=json.dumps(event))
    assert 2 == ingests.once(*told).report["files"], "the one begun, and the new one"
    files.agrees_with(tmp_path / "lake")
    assert 0 == ingests.once(*told).report["files"]


def test_what_is_wrong_with_a_bucket_or_a_queue(aws_api: S3, ingests: Ingests, bucket: str) -> None:
    missing = ingests.start("--notifications", f"sqs://{REGION}/no-such-queue")
    assert 2 == missing.exit_code()
    [line] = missing.log.splitlines()
    assert "AWS can't find the queue no-such-queue" in line


def test_a_bucket_that_is_not_there(aws_api: S3, tmp_path: Path) -> None:
    with ingests_of("s3://no-such-bucket/x", tmp_path / "lake", tmp_path, aws_api.env) as started:
        run = started.start()
        assert 2 == run.exit_code()
    [line] = run.log.splitlines()
    assert "AWS can't list s3://no-such-bucket/x (NoSuchBucket" in line
    assert not (tmp_path / "lake").exists()


def test_nobody_listens(tmp_path: Path) -> None:
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    with ingests_of("s3://bucket/x", tmp_path / "lake", tmp_path, nowhere) as started:
        run = started.start()
        assert 2 == run.exit_code()
    [line] = run.log.splitlines()
    assert "no answer from s3://bucket/x" in line


def test_errors_of_aws_are_told_apart() -> None:
    from botocore.exceptions import ClientError

    from schemas.errors import BrokerUnavailable, ConfigError

    for code, status, kind in (("SlowDown", 503, BrokerUnavailable), ("Odd", 500, BrokerUnavailable)):
        answer = {"Error": {"Code": code, "Message": "later"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        with pytest.raises(kind, match="now"), aws.errors("s3://b/p", "list"):
            raise ClientError(answer, "ListObjectsV2")
    answer = {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    with pytest.raises(ConfigError, match="does not let these credentials list"), aws.errors("s3://b/p", "list"):
        raise ClientError(answer, "ListObjectsV2")
