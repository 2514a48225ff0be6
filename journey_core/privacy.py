"""Who is to be forgotten, and how they are found."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from journey_core.contract import EVENTS, REJECTED_EVENTS
from journey_core.identity import Identity, register
from journey_core.models import quoted, shipped_models

ERASED = "(erased)"
_WHERE = ("topic", "generation", "partition", "offset", "kafka_timestamp", "landed_at")
#: What becomes of the other columns of `lake.rejected_events`: column → SQL.
BLANK = {name: "null" for name in REJECTED_EVENTS.names if name not in _WHERE} | {
    "reason": "'erased'",
    "detail": "'the person was erased'",
}
_NOTHING = r"[^\s\S]"
# Letters and digits; an `e` alone may be a number's.
_MIXED = re.compile(r"(?i)(?=.*\d).*[a-df-z]")


@dataclass(frozen=True)
class Person:
    """One component: the names that it may have had as a customer, its identifiers (normalised), its events."""

    names: frozenset[str]
    identifiers: frozenset[tuple[str, str]]
    event_ids: frozenset[str]

    def anywhere(self) -> str:
        """A regular expression of what is theirs wherever it stands; its groups are what stands around it.

        Only what hardly anything else can be: six characters or more, with an @, or letters and digits. A word or a
        number would be found in the facts of others.
        """
        texts = {text for name in self._telling() for text in (name, json.dumps(name)[1:-1])}
        if not texts:
            return _NOTHING
        return rf"(?i)(^|[^0-9A-Za-z._%+\-])(?:{'|'.join(sorted(map(re.escape, texts)))})($|[^0-9A-Za-z_@\-])"

    def pairs(self) -> str:
        """A regular expression of their identifiers as an event writes them: `"email": "ann@x.de"`."""
        written = (
            rf'"{re.escape(json.dumps(namespace)[1:-1])}"\s*:\s*"{re.escape(json.dumps(identifier)[1:-1])}"'
            for namespace, identifier in sorted(self.identifiers)
        )
        return f"(?i)(?:{'|'.join(written)})" if self.identifiers else _NOTHING

    def _telling(self) -> set[str]:
        texts = self.names | {identifier for _, identifier in self.identifiers}
        return {text for text in texts if len(text) >= 6 and ("@" in text or _MIXED.search(text))}


def find_named(connection: duckdb.DuckDBPyConnection, rows: str, name: str, identity: Identity) -> None:
    """Create the table `name(place, role, namespace, identifier, strength)`: whom records name, normalised.

    `rows` selects `place` (varchar) and the columns that `staging.event_identifiers` reads: its SQL runs here. What no
    namespace of `identity` declares is found as well, as the weakest: somebody may have been erased by that name.
    """
    (model,) = [model for model in shipped_models() if model.name == "staging.event_identifiers"]
    connection.execute("create schema if not exists staging; create schema if not exists taxonomy")
    register(connection)
    for table, columns in identity.columns().items():
        connection.register("incoming_rows", pa.table(columns))
        connection.execute(f"create or replace table taxonomy.{table} as from incoming_rows")
        connection.unregister("incoming_rows")
    connection.execute(
        "create or replace view staging.events as"
        f" select place as event_key, place as event_id, * exclude (place) from {rows}"
    )
    connection.execute(
        """
        insert into taxonomy.namespaces (namespace, class, strength)
        select namespace, 'undeclared', 1000
        from (
            select unnest(map_keys(identifiers)) as namespace from staging.events
            union
            select unnest(map_keys(try_cast(json_extract(properties, '$.with') as map(varchar, varchar))))
            from staging.events where event_type = 'identity_merged'
        ) as named
        where namespace not in (select namespace from taxonomy.namespaces)
        """
    )
    connection.execute(
        f"create or replace temp table {name} as"
        f" select event_key as place, role, namespace, identifier, strength from ({model.sql})"
    )


def normalised(namespace: str, identifier: str, identity: Identity) -> str:
    """An identifier as somebody writes it → as the tables have it; itself where it names nobody."""
    asked = pa.table({"identifiers": pa.array([{namespace: identifier}], EVENTS.field("identifiers").type)})
    with duckdb.connect() as connection:
        connection.register("asked", asked)
        empty = "null::timestamptz as occurred_at, null::bigint as sequence, null as event_type, null as properties"
        find_named(connection, f"(select 'x' as place, {empty}, identifiers from asked)", "named", identity)
        found = connection.execute("select identifier from named").fetchall()
    return str(found[0][0]) if found else identifier


def numbered(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> str:
    """Create the table `landed` of judged records, each with its `place`; returns what `find_named` reads of it."""
    connection.register("incoming", rows)
    connection.execute(
        "create or replace temp table landed as select row_number() over () ::varchar as place, * from incoming"
    )
    columns = "place, occurred_at, sequence, event_type, coalesce(identifiers, map()) as identifiers, properties"
    return f"(select {columns} from landed)"


def tombstone() -> str:
    """SQL: the columns of a record that was erased: where it was, and nothing else."""
    return ", ".join(f"{BLANK.get(name, quoted(name))} as {quoted(name)}" for name in REJECTED_EVENTS.names)


def redacted(text: str) -> str:
    """SQL: `text` without what the variable `anywhere` (`Person.anywhere`) finds.

    Twice: between two names side by side stands one character, which belongs to both.
    """
    once = "regexp_replace({}, getvariable('anywhere'), '" + rf"\1{ERASED}\2" + "', 'g')"
    return once.format(once.format(text))
