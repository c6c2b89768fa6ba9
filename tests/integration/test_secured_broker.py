"""Kafka with TLS and SASL: verbs get through with the right settings, and only with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import NoBroker, secured
from tests.broker.secured import SecuredBroker
from tests.workers import playlake


@pytest.fixture(scope="module")
def secured_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    try:
        found = secured.start(tmp_path_factory.mktemp("keys"), print)
    except NoBroker as error:
        pytest.skip(f"a broker with TLS needs Java 17+ and Maven: {error}")
    yield found
    found.plain.close()


def settings_file(folder: Path, options: list[str]) -> None:
    """Secrets in a file, where no other user sees them: not on a command line."""
    (folder / "playlake.toml").write_text(f"kafka_option = {json.dumps(options)}\n")


def test_produce_stream_status_and_verify_get_through(secured_broker: SecuredBroker, tmp_path: Path) -> None:
    settings_file(tmp_path, secured_broker.options())
    where, lake = ["--broker", secured_broker.url], ["--lake", "lake"]
    for arguments in (
        ["produce", *where, "--topic", "secured", "--events", "2000", "--dirty", "0.02"],
        ["stream", *where, *lake, "--topic", "secured", "--until-caught-up", "--verbose"],
        ["status", *where, *lake],
        ["verify", *where, *lake, "--json"],
    ):
        done = playlake(*arguments, cwd=tmp_path, timeout_s=90)
        assert 0 == done.returncode, done.stderr
        assert secured_broker.password not in done.stdout + done.stderr
    verdict = json.loads(done.stdout)
    assert 2000 == sum(source["done_positions"] for source in verdict["sources"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sasl_password": "a-wrong-password"}, "uthentication failed"),
        ({"security_protocol": "PLAINTEXT"}, "no answer from the broker"),
        ({"ssl_ca_location": "another"}, "certificate verify failed"),
    ],
    ids=["wrong password", "no TLS", "another authority"],
)
def test_what_is_wrong_is_told_in_one_line_without_the_password(
    secured_broker: SecuredBroker, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    if "ssl_ca_location" in changes:
        other = tmp_path / "other.pem"
        secured.make_certificates(other, tmp_path / "unused.pem")
        changes = {"ssl_ca_location": str(other)}
    options = secured_broker.options(**changes)
    settings_file(tmp_path, options)
    done = playlake("stream", "--broker", secured_broker.url, "--topic", "secured", "--lake", "lake", cwd=tmp_path)
    assert 2 == done.returncode, done.stderr
    assert said in done.stderr
    assert 1 == done.stderr.count("\n")
    assert secured_broker.password not in done.stderr and "a-wrong-password" not in done.stderr
    assert not (tmp_path / "lake").exists()
