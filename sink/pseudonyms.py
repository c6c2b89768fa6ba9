"""Keyed pseudonyms in place of the ids in silver, and which key a lake's are made with.

A pseudonym is HMAC-SHA-256 (RFC 2104) of the column's name, a zero byte and the id, the first 32 of its hex digits: 128
bits, so that two persons do not meet, and nobody without the key can try ids until one fits.
"""

from __future__ import annotations

import hmac
import json
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from schemas.errors import ConfigError
from sink.lake import Lake, data_files
from sink.properties import property_of, settle

COLUMNS: Final = ("user_id", "profile_id")
"""Columns of silver, and fields of its payloads, that hold pseudonyms."""
KEY_ID: Final = "playlake.pseudonymKey"
"""Name in silver's configuration of the id of the key; absent: ids are in the clear."""
SHORTEST_KEY: Final = 16
_DIGITS: Final = 32
_MAX_ATTEMPTS: Final = 10


class Pseudonyms:
    """One key, and what it makes of ids. The same id and column always give the same pseudonym."""

    def __init__(self, key: bytes) -> None:
        """Take a key.

        Raises:
            ConfigError: it is too short.
        """
        if len(key) < SHORTEST_KEY:
            raise ConfigError(f"the pseudonyms' key has {len(key)} bytes: use {SHORTEST_KEY} or more random ones")
        self._key = key
        self.key_id = self._digest("playlake key id", "")[:16]

    def of(self, column: str, value: str) -> str:
        """Return the pseudonym of one id of a column."""
        return self._digest(column, value)[:_DIGITS]

    def _digest(self, column: str, value: str) -> str:
        return hmac.digest(self._key, f"{column}\0{value}".encode(), "sha256").hex()

    def applied_to(self, silver: pa.Table) -> pa.Table:
        """Return rows of silver with pseudonyms in place of ids, also in payloads; each distinct id is hashed once."""
        for column in COLUMNS:
            silver = self._replaced(silver, column, lambda value, column=column: self.of(column, value))
        return self._replaced(silver, "raw_payload", self._payload)

    @staticmethod
    def _replaced(rows: pa.Table, column: str, replace: Any) -> pa.Table:
        values = rows[column]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if values.null_count == len(values):
            return rows
        encoded = values.combine_chunks().dictionary_encode()
        replaced = pa.array([replace(value) for value in encoded.dictionary.to_pylist()], pa.string())
        # Plain again: a dictionary would go into every lake partition's file, with ids of the others' rows.
        return rows.set_column(rows.schema.get_field_index(column), column, pc.take(replaced, encoded.indices))

    def _payload(self, text: str) -> str:
        fields = json.loads(text)
        hidden = {name: self.of(name, fields[name]) for name in COLUMNS if isinstance(fields.get(name), str)}
        return json.dumps(fields | hidden, ensure_ascii=False)


def key_id_of(silver: DeltaTable) -> str | None:
    """Return the id of the key with which silver's pseudonyms are made; None where ids are in the clear."""
    return property_of(silver, KEY_ID)


def require_key(lake: Lake, pseudonyms: Pseudonyms | None) -> None:
    """Refuse to write or look for ids with another key than the lake's, without it, or with one where it has none.

    Raises:
        ConfigError: so it would be.
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    found = key_id_of(lake.table("silver"))
    given = None if pseudonyms is None else pseudonyms.key_id
    if found == given:
        return
    if given is None:
        raise ConfigError(
            f"{lake.uri} holds pseudonyms, made with the key {found}: give it with --pseudonym-key-file or "
            "PLAYLAKE_PSEUDONYM_KEY"
        )
    if found is None:
        raise ConfigError(f"{lake.uri} holds ids in the clear: pseudonyms begin with a new lake, or leave the key out")
    raise ConfigError(f"{lake.uri} holds pseudonyms of the key {found}; the key given is {given}: find the right one")


def settle_key(lake: Lake, pseudonyms: Pseudonyms | None) -> None:
    """Say in a lake without any row yet with which key its pseudonyms will be made; then `require_key`.

    Raises:
        As `require_key`, and CommitConflict: the table was changed by others at each try.
    """
    given = None if pseudonyms is None else pseudonyms.key_id

    def choose(silver: DeltaTable) -> str | None:
        is_settled = key_id_of(silver) is not None or any(data_files(lake.table(name)) for name in lake.tables)
        return None if is_settled else given

    if given is not None:
        settle(lake, KEY_ID, choose, tries=_MAX_ATTEMPTS)
    require_key(lake, pseudonyms)
