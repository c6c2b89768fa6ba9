"""A schema registry on the command line: a real one, a folder of schemas, or `mock://` for work without any.

http(s)://host:port/path   Confluent's API (Confluent, Apicurio's `/apis/ccompat/v7`, Karapace, Redpanda)
folder                     one file a schema, `<id>.avsc`
mock://                    confluent-kafka's own, in memory: knows playlake's event, each version under its number
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from schemas.errors import ConfigError, RegistryUnavailable, SchemaRefused
from schemas.event import avro_versions
from schemas.wire import Registry

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

Result = TypeVar("Result")

_MOCK: Final = "mock://"
_NO_SUCH_ID: Final = (40403, 40400)
"""Error codes: the registry's, the mock's. Any other 404 is an address where no registry is."""
_REFUSED: Final = (409, 422)
_AWAY: Final = (408, 425, 429)
_TIMEOUT_S: Final = 10


def open_registry(location: str, options: Iterable[str] = ()) -> Registry:
    """Return the registry at a location; asks nothing of it yet.

    Args:
        location: one of the forms above; user and password may stand in the URL.
        options: `name=value`, any of confluent-kafka's SchemaRegistryClient, such as `ssl.ca.location=ca.pem`.

    Raises:
        ConfigError: none of these forms, or no such folder.
    """
    if location == _MOCK:
        return _mock()
    if re.match(r"https?://", location):
        return _client(location, options)
    folder = Path(location)
    if "://" in location or not folder.is_dir():
        raise ConfigError(
            f"--schema-registry {_shown(location)} is no URL (http://host:port), no folder and not {_MOCK}"
        )
    return FolderRegistry(folder)


class FolderRegistry:
    """Schemas as files `<id>.avsc` of a folder; subjects are not told apart."""

    def __init__(self, folder: Path) -> None:
        """Read and write here; the folder must be there."""
        self._folder = folder

    def find(self, schema_id: int) -> str | None:
        """See `Registry`."""
        try:
            return (self._folder / f"{schema_id}.avsc").read_text(encoding="utf-8")
        except FileNotFoundError:
            if self._folder.is_dir():
                return None
            raise RegistryUnavailable(f"the folder of schemas {self._folder} is gone") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryUnavailable(f"the schema {self._folder}/{schema_id}.avsc can't be read: {error}") from error

    def register(self, subject: str, schema: str) -> int:
        """See `Registry`; two at once never get the same id."""
        while True:
            known = {int(file.stem): file for file in self._folder.glob("*.avsc") if file.stem.isdecimal()}
            for schema_id in sorted(known):
                text = self.find(schema_id)
                if text is not None and _is_same(text, schema):
                    return schema_id
            schema_id = max(known, default=0) + 1
            if self._write(schema_id, schema):
                return schema_id

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _write(self, schema_id: int, schema: str) -> bool:
        try:
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self._folder, suffix=".tmp") as file:
                file.write(schema)
                file.flush()
                os.link(file.name, self._folder / f"{schema_id}.avsc")
        except FileExistsError:
            return False
        except OSError as error:
            raise RegistryUnavailable(f"the folder of schemas {self._folder} can't be written: {error}") from error
        return True


class RemoteRegistry:
    """Confluent's API, through confluent-kafka's client."""

    def __init__(self, client: SchemaRegistryClient, shown: str, subject: str | None = None) -> None:
        """Use this client.

        Args:
            client: made to fail at once; who calls waits and tries again.
            shown: its address for messages, without a password.
            subject: in place of any subject asked for.
        """
        self._client = client
        self._shown = shown
        self._subject = subject

    def find(self, schema_id: int) -> str | None:
        """See `Registry`."""
        text: str | None = self._ask(lambda: self._client.get_schema(schema_id).schema_str, _NO_SUCH_ID)
        return text

    def register(self, subject: str, schema: str) -> int:
        """See `Registry`."""
        from confluent_kafka.schema_registry import Schema

        schema_id: int = self._ask(
            lambda: self._client.register_schema(self._subject or subject, Schema(schema, "AVRO"))
        )
        return schema_id

    def close(self) -> None:
        """See `Registry`."""
        self._client.close()

    def _ask(self, question: Callable[[], Any], no_answer: tuple[int, ...] = ()) -> Any:
        import httpx2
        from confluent_kafka.schema_registry import SchemaRegistryError

        try:
            return question()
        except SchemaRegistryError as error:
            if error.error_code in no_answer:
                return None
            reason = f"{error.error_message} (HTTP {error.http_status_code})"
            if error.http_status_code in _REFUSED:
                raise SchemaRefused(f"the schema registry {self._shown} refuses the schema: {reason}") from error
            if error.http_status_code >= 500 or error.http_status_code in _AWAY:
                raise RegistryUnavailable(f"the schema registry {self._shown} can't answer now: {reason}") from error
            raise ConfigError(
                f"--schema-registry {self._shown} does not answer as a schema registry: {reason[:300]}; check the path "
                "(Apicurio: /apis/ccompat/v7), user and password"
            ) from error
        except httpx2.TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):  # waiting does not make it trusted
                raise ConfigError(
                    f"--schema-registry {self._shown}: {error}; name its authority: "
                    "--registry-option ssl.ca.location=FILE"
                ) from error
            raise RegistryUnavailable(f"the schema registry {self._shown} does not answer: {error}") from error
        except (httpx2.HTTPError, ValueError, TypeError) as error:  # an answer, but not a registry's
            raise ConfigError(
                f"--schema-registry {self._shown} does not answer as a schema registry: {str(error)[:200]}"
            ) from error


def _client(url: str, options: Iterable[str]) -> RemoteRegistry:
    import httpx2
    from confluent_kafka.schema_registry import SchemaRegistryClient

    settings: dict[str, Any] = {"max.retries": 0, "timeout": _TIMEOUT_S}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--registry-option {option!r} is not of the form name=value")
        settings[name.strip()] = value.strip()
    try:
        httpx2.URL(url)
        settings["url"], user_info = _without_user(url)
        if user_info is not None:
            settings.setdefault("basic.auth.user.info", user_info)
        return RemoteRegistry(SchemaRegistryClient(settings), _shown(url))
    except (httpx2.InvalidURL, ValueError, TypeError, OSError) as error:
        raise ConfigError(f"--schema-registry {_shown(url)}: {error}") from None


def _without_user(url: str) -> tuple[str, str | None]:
    """Return the URL without user and password, which the client would log with every request, and `user:password`."""
    parts = urlsplit(url)
    if parts.username is None:
        return url, None
    user_info = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), user_info


def _mock() -> RemoteRegistry:
    from confluent_kafka.schema_registry import SchemaRegistryClient

    registry = RemoteRegistry(SchemaRegistryClient.new_client({"url": _MOCK}), _MOCK, "playlake")
    for number, schema in avro_versions().items():
        schema_id = registry.register("playlake", json.dumps(schema))
        if schema_id != number:
            raise AssertionError(f"version {number} got the schema id {schema_id}")
    return registry


def _shown(url: str) -> str:
    return re.sub(r"//[^/]*@", "//", url)


def _is_same(one: str, other: str) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False
