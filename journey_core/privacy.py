"""Who is to be forgotten, and how the records are found that name them by an identifier."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from journey_core.contract import EVENTS, REJECTED_EVENTS
from journey_core.identity import Identity, register
from journey_core.models import quoted, shipped_models
from journey_core.shapes import Patterns, patterns

_WHERE = ("topic", "generation", "partition", "offset", "kafka_timestamp", "landed_at")
#: What becomes of the other columns of `lake.rejected_events`: column → SQL.
BLANK = {name: "null" for name in REJECTED_EVENTS.names if name not in _WHERE} | {
    "reason": "'erased'",
    "detail": "'the person was erased'",
}


@dataclass(frozen=True)
class Person:
    """One component: the names that it may have had as a customer, its identifiers (normalised), its events.

    `others` are identifiers of other people that contain one of this person's.
    """

    names: frozenset[str]
    identifiers: frozenset[tuple[str, str]]
    event_ids: frozenset[str]
    others: frozenset[str] = frozenset()

    def patterns(self) -> Patterns:
        """What finds them in texts."""
        return patterns(self.identifiers, self.names, self.others)


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


def find_keyed(connection: duckdb.DuckDBPyConnection, name: str, identity: Identity) -> None:
    """Add to the table `name` of `find_named` whom the Kafka keys of the table `landed` name, as role `key`.

    A key is `namespace:identifier`, or an identifier of whichever namespace.
    """
    namespaces = identity.columns()["namespaces"]["namespace"]
    connection.register("declared", pa.table({"namespace": namespaces}))
    connection.execute(
        f"""
        create or replace temp table keys as
        select place, namespace, case
            when starts_with(written, namespace || ':') then substr(written, length(namespace) + 2) else written
        end as identifier
        from (select place, {_key()} as written from landed where key is not null) as keys
        cross join declared
        where starts_with(written, namespace || ':') or not exists (
            from declared as others where starts_with(keys.written, others.namespace || ':')
        )
        """
    )
    empty = "null::timestamptz as occurred_at, null::bigint as sequence, null as event_type, null as properties"
    find_named(
        connection,
        f"(select place, {empty}, map([namespace], [identifier]) as identifiers from keys)",
        "keyed_names",
        identity,
    )
    connection.execute(f"insert into {name} select * replace ('key' as role) from keyed_names")


def _key() -> str:
    # An octet that is no ASCII is shown as `\xC3`; it is decoded with those beside it.
    octets = rf"regexp_replace({text_of('key')}, '\\x([0-9A-F]{{2}})', '%\1', 'g')"
    return f"coalesce(try(url_decode({octets})), {text_of('key')})"


def text_of(column: str) -> str:
    r"""SQL: bytes as a text, whatever they are: what is not ASCII stands as `\xC3`. Nothing can fail."""
    text = f"{column}::varchar"
    for octet in ('"', "'", "\\"):
        text = f"replace({text}, '\\x{ord(octet):02X}', chr({ord(octet)}))"
    return text


def tombstone() -> str:
    """SQL: the columns of a record that was erased: where it was, and nothing else."""
    return ", ".join(f"{BLANK.get(name, quoted(name))} as {quoted(name)}" for name in REJECTED_EVENTS.names)
