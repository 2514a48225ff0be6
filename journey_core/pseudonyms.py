"""Pseudonyms instead of identifiers: HMAC-SHA-256 under a secret, before anything is written.

The same identifier, normalised, has the same pseudonym, so joins, merges and erasures work as before. Who has the
secret can tell whether somebody is among the pseudonyms; who has the disk alone cannot.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
from cryptography.fernet import Fernet, InvalidToken

from journey_core.contract import EVENTS, RECORDS, REJECTED_EVENTS, Judged
from journey_core.errors import InputError
from journey_core.identity import Identity
from journey_core.privacy import find_named, numbered

_BLOCK = 64  # bytes, of SHA-256
_SEALED = b"sealed:"
_HIDDEN = "(pseudonymised)"
#: What is unmistakably of a namespace, wherever somebody has written it: an address, a number with its prefix.
_UNMISTAKABLE = {
    "email": r"[a-z0-9._%+\-]+@[a-z0-9.\-]+\.[a-z]{2,}",
    "phone": r"(?:\+|00)[1-9][0-9 ().\-/]{5,}[0-9]",
}


@dataclass(frozen=True)
class Pseudonyms:
    """Which namespaces are pseudonymised, the secret, and how identifiers are normalised before."""

    namespaces: frozenset[str]
    secret: str = field(repr=False)
    identity: Identity = field(default_factory=Identity)

    def of(self, namespace: str, identifier: str) -> str:
        """What `identifier`, as somebody writes it, is called in the tables; itself where it is not hidden."""
        if namespace not in self.namespaces:
            return identifier
        row = {"identifiers": [{namespace: identifier}]}
        asked = pa.table({name: pa.array(values, EVENTS.field(name).type) for name, values in row.items()})
        with duckdb.connect() as connection:
            connection.register("asked", asked)
            empty = "null::timestamptz as occurred_at, null::bigint as sequence, null as event_type, null as properties"
            self._find(connection, f"(select 'x' as place, {empty}, identifiers from asked)")
            found = connection.execute("select pseudonym from named").fetchall()
        return str(found[0][0]) if found else identifier

    def hide(self, judged: Judged) -> Judged:
        """`judged` with pseudonyms for identifiers, and without those identifiers in the other texts of their records.

        E-mail addresses and telephone numbers with a prefix leave all texts, whosever they are.
        What was rejected keeps its bytes sealed (`unseal` opens them): what does not parse cannot be searched.
        """
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            accepted = self._hidden(connection, judged.accepted)
            rejected = self._hidden(connection, judged.rejected)
        for name in ("context", "properties", "extra", "detail"):
            rejected = _replaced(rejected, name, pa.nulls(rejected.num_rows, REJECTED_EVENTS.field(name).type))
        for name in ("key", "value"):
            sealed = [text and self._seal(text) for text in rejected[name].to_pylist()]
            rejected = _replaced(rejected, name, pa.array(sealed, pa.binary()))
        return Judged(accepted, rejected)

    def unseal(self, records: pa.Table) -> pa.Table:
        """Records with their bytes as Kafka had them. Raises InputError where another secret has sealed them."""
        for name in ("key", "value"):
            opened = [text and self._open(text) for text in records[name].to_pylist()]
            records = _replaced(records, name, pa.array(opened, RECORDS.field(name).type))
        return records

    def _find(self, connection: duckdb.DuckDBPyConnection, rows: str) -> None:
        """The table `named(place, role, namespace, identifier, pseudonym)`, of the hidden namespaces."""
        find_named(connection, rows, "everybody", self.identity)
        connection.register("hidden", pa.table({"namespace": sorted(self.namespaces)}))
        key = hashlib.sha256(self.secret.encode()).digest() if len(self.secret) > _BLOCK else self.secret.encode()
        padded = key.ljust(_BLOCK, b"\0")
        pads = {name: bytes(byte ^ pad for byte in padded) for name, pad in (("inner_pad", 0x36), ("outer_pad", 0x5C))}
        for name, pad in pads.items():
            connection.execute(f"set variable {name} = $1::blob", [pad])
        # RFC 2104: H(key ^ opad, H(key ^ ipad, text)).
        connection.execute(
            """
            create or replace temp table named as
            select place, role, namespace, identifier, 'hmac:' || sha256(getvariable('outer_pad') || unhex(
                sha256(getvariable('inner_pad') || encode(namespace || ':' || identifier))
            )) as pseudonym
            from everybody inner join hidden using (namespace)
            """
        )

    def _hidden(self, connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> pa.Table:
        self._find(connection, numbered(connection, rows))
        patterns = [pattern for namespace, pattern in _UNMISTAKABLE.items() if namespace in self.namespaces]
        connection.register("unmistakable", pa.table({"pattern": pa.array(patterns, pa.string())}))
        hidden = connection.sql(
            f"""
            with
            written as (
                select place, entry.key as namespace, entry.value as text
                from (select place, unnest(map_entries(identifiers)) as entry from landed)
                where entry.key in (select namespace from hidden)
                union
                select place, namespace, identifier from named
                union
                -- A telephone number may stand elsewhere without its plus.
                select place, namespace, ltrim(identifier, '+') from named
            ),
            texts as (
                -- Shorter ones are found in what has nothing to do with them.
                select place, string_agg(pattern, '|' order by pattern) as ways_to_write
                from (
                    select place, regexp_escape(text) as pattern from written where length(text) >= 6
                    union
                    select place, pattern from landed cross join unmistakable
                )
                group by place
            ),
            pseudonyms as (
                select
                    place,
                    map_from_entries(list(struct_pack(k := namespace, v := pseudonym) order by namespace)
                        filter (where role <> 'merged_with')) as named,
                    map_from_entries(list(struct_pack(k := namespace, v := pseudonym) order by namespace)
                        filter (where role = 'merged_with')) as merged
                from named group by place
            )
            select landed.* replace (
                map_from_entries(list_transform(
                    map_entries(landed.identifiers),
                    lambda entry: struct_pack(k := entry.key, v := coalesce(pseudonyms.named[entry.key], entry.value))
                )) as identifiers,
                {_without("landed.context")} as context,
                case
                    when pseudonyms.merged is null then {_without("landed.properties")}
                    else json_merge_patch(
                        {_without("landed.properties")}, json_object('with', pseudonyms.merged)
                    )
                end as properties,
                {_without("landed.extra")} as extra
            )
            from landed
            left join pseudonyms using (place)
            left join texts using (place)
            order by landed.place::bigint
            """
        ).to_arrow_table()
        return hidden.select(rows.column_names).cast(rows.schema)

    def _seal(self, text: bytes) -> bytes:
        return _SEALED + self._cipher().encrypt(text)

    def _open(self, text: bytes) -> bytes:
        if not text.startswith(_SEALED):
            return text  # from before anything was sealed
        try:
            return self._cipher().decrypt(text.removeprefix(_SEALED))
        except InvalidToken as error:
            said = "rejected records are sealed under another secret: set JOURNEY_PSEUDONYM_KEY to that one"
            raise InputError(said) from error

    def _cipher(self) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"seal:{self.secret}".encode()).digest()))


def _without(text: str) -> str:
    """SQL: a JSON text without what `texts.ways_to_write` finds.

    A number that is an identifier has no quotes around it; it gets them, or the text would be no JSON any more.
    """
    numbers = rf"""regexp_replace(
        {text}, '(?i)([:\[,]\s*)(?:' || texts.ways_to_write || ')(\s*[,}}\]])', '\1"{_HIDDEN}"\2', 'g'
    )"""

    def words(where: str) -> str:
        # Twice: two finds may share the character between them.
        once = (
            f"regexp_replace({{}}, '(?i)(^|[^0-9A-Za-z])(?:' || texts.ways_to_write || ')($|[^0-9A-Za-z])',"
            rf" '\1{_HIDDEN}\2', 'g')"
        )
        return once.replace("{}", once.replace("{}", where))

    return (
        f"case when texts.ways_to_write is null or {text} is null then {text}"
        f" when json_valid({words(numbers)}) then {words(numbers)}"
        f" when json_valid({words(text)}) then {words(text)} else '{{}}' end"
    )


def _replaced(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
