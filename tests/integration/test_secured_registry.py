"""A schema registry with TLS and a password: verbs get through with the right settings, and only with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import maven
from tests import registry as registries
from tests.broker import Broker
from tests.broker.secured import USER, make_certificates
from tests.registry.secured import SecuredRegistry, behind_tls
from tests.workers import playlake

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredRegistry]:
    """One for all tests here: it takes 10 s to start, and none of them minds a schema that is there already."""
    try:
        own = registries.Apicurio(registries.prepare(print))
    except maven.NoJars as error:
        pytest.fail(str(error), pytrace=False)
    own.start()
    with behind_tls(own, tmp_path_factory.mktemp("keys")) as found:
        yield found
    own.close()


def write_settings(folder: Path, url: str, options: list[str]) -> None:
    """Secrets in a file, where no other user sees them: not on a command line."""
    (folder / "playlake.toml").write_text(
        f'format = "avro"\nschema_registry = {json.dumps(url)}\nregistry_option = {json.dumps(options)}\n'
    )


@pytest.mark.parametrize("in_the_url", [True, False], ids=["password in the URL", "password in an option"])
def test_produce_and_stream_get_through(
    secured: SecuredRegistry, broker: Broker, topic: Callable[..., str], tmp_path: Path, in_the_url: bool
) -> None:
    options = [f"ssl.ca.location={secured.authority}"]
    if not in_the_url:
        options.append(f"basic.auth.user.info={USER}:{secured.password}")
    write_settings(tmp_path, secured.url() if in_the_url else f"https://{secured.address}", options)
    where, before = ["--broker", broker.url, "--topic", topic()], len(secured.answers)
    for arguments in (
        ["produce", *where, "--events", "300"],
        ["stream", *where, "--lake", "lake", "--until-caught-up", "--verbose", "--json"],
    ):
        done = playlake(*arguments, cwd=tmp_path, timeout_s=90)
        assert 0 == done.returncode, done.stderr
        assert secured.password not in done.stdout + done.stderr
    assert 300 == json.loads(done.stdout)["bronze"]
    asked_at_start = 404  # a worker begins by asking for an id that no schema has
    assert {200, asked_at_start} == set(secured.answers[before:])


@pytest.mark.parametrize("wrong", ["password", "no password", "authority"])
@pytest.mark.parametrize("verb", ["produce", "stream"])
def test_what_is_wrong_is_told_in_one_line_without_the_password(
    secured: SecuredRegistry, broker: Broker, topic: Callable[..., str], tmp_path: Path, wrong: str, verb: str
) -> None:
    where = ["--broker", broker.url, "--topic", topic()]  # empty: a worker asks before it reads
    authority, url, said = secured.authority, secured.url(), "user and password"
    if wrong == "password":
        url = secured.url("a-wrong-password")
    elif wrong == "no password":
        url = f"https://{secured.address}"
    else:
        authority, said = tmp_path / "other.pem", "certificate verify failed"
        make_certificates(authority, tmp_path / "unused.pem")
    write_settings(tmp_path, url, [f"ssl.ca.location={authority}"])
    more = ["--events", "50"] if verb == "produce" else ["--lake", "lake", "--until-caught-up"]
    done = playlake(verb, *where, *more, cwd=tmp_path)
    assert 2 == done.returncode, done.stderr
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert secured.password not in done.stderr and "a-wrong-password" not in done.stderr
