"""The compactor's web server: what the job did and how large the lake is, alive, ready."""

import socket
import time

import pytest

from compaction import job
from playlake.cli import main
from playlake.compactor_metrics import CompactorMetrics
from playlake.verbs import compact as verb
from playlake.web import Page, serve
from schemas.errors import ConfigError, StoreUnavailable
from sink.lake import Lake
from tests import lakes
from tests.broker.kafka import free_ports
from tests.web import Web


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = lakes.make(tmp_path)
    for _ in range(2):
        lakes.append(lake, "silver", [lakes.silver(event_id="a"), lakes.undated(client_ts="2026-11-21T10:00:00Z")])
    return lake


@pytest.fixture
def web() -> Web:
    return Web(*free_ports(1))


def test_a_running_job_serves_what_it_did(lake, web, monkeypatch, capsys):
    asked: list[tuple[int, str]] = []

    def nap(seconds: float) -> None:
        asked.extend(web.get(path) for path in ("/healthz", "/readyz?verbose", "/metrics", "/secrets"))
        assert 1 == web.metric("playlake_duplicate_events_total")
        assert 2 == web.metric("playlake_repaired_events_total")
        assert 0 == web.metric("playlake_null_partition_rows")
        assert len(lake.table("silver").file_uris()) == web.metric("playlake_table_files", table="silver")
        assert lakes.rows(lake, "select count(*) from silver") == [(web.metric("playlake_table_rows", table="silver"),)]
        assert web.metric("playlake_table_bytes", table="gold/title_daily") > 0
        assert abs(time.time() - web.metric("playlake_last_compaction_timestamp_seconds")) < 60
        assert 1 == web.metric("playlake_compaction_step_seconds_count", step="gold")
        assert 0 < web.metric("playlake_disk_free_bytes") < web.metric("playlake_disk_size_bytes")
        raise KeyboardInterrupt

    monkeypatch.setattr(verb.time, "sleep", nap)
    code = main(["compact", "--lake", lake.uri, "--every", "5m", "--web-port", str(web.port)])
    assert 130 == code, capsys.readouterr().err
    assert [200, 200, 200, 404] == [status for status, _ in asked]
    assert ["alive\n", "ready\n"] == [text for _, text in asked[:2]]
    assert 0 == web.get("/healthz")[0], "the server ended with the job"


def test_it_is_not_ready_while_runs_fail_and_ready_after_one_that_went_through(lake, web, monkeypatch, capsys):
    found: list[tuple[int, str]] = []
    run = job.run

    def run_or_fail(*arguments, **options):
        if not found:
            raise StoreUnavailable("the store does not serve the lake")
        return run(*arguments, **options)

    def nap(seconds: float) -> None:
        found.append(web.get("/readyz"))
        if len(found) == 2:
            assert 1 == web.metric("playlake_compaction_failures_total")
            raise KeyboardInterrupt

    monkeypatch.setattr(job, "run", run_or_fail)
    monkeypatch.setattr(verb.time, "sleep", nap)
    main(["compact", "--lake", lake.uri, "--every", "5m", "--web-port", str(web.port)])
    assert [(503, "the store does not serve the lake\n"), (200, "ready\n")] == found


def test_a_job_that_hangs_is_not_ready(lake):
    now = [1000.0]
    metrics = CompactorMetrics(lake, 60, clock=lambda: now[0])
    assert metrics.not_ready() is None, "the first run goes on"
    now[0] += 3601
    assert "no run went through for 3601 s; the pause between two is 60 s" == metrics.not_ready()
    metrics.done()
    assert metrics.not_ready() is None


def test_one_run_has_nothing_to_serve(lake, capsys):
    assert 2 == main(["compact", "--lake", lake.uri, "--web-port", "9999"])
    assert (
        "playlake compact: --web-port serves a job that runs again and again: add --every 5m" in capsys.readouterr().err
    )


def test_an_address_that_is_taken_is_told_with_its_flags():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        trouble = pytest.raises(ConfigError, match=f"127.0.0.1:{port} .--web-bind, --web-port.: Address already in use")
        with trouble, serve("127.0.0.1", port, {"/": lambda: Page("")}):
            pass
