"""Who is to be forgotten, how they are found, and how a replay does not bring them back.

What stays of an erased person is a list of salted fingerprints (sha256 over salt, namespace and identifier, and over
salt and the hash of a record): enough to know them again, too little to read them.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
from pydantic import TypeAdapter

from journey_core.contract import EVENTS, REJECTED_EVENTS, Judged
from journey_core.errors import DamagedError
from journey_core.files import swap
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


@dataclass(frozen=True)
class _Fingerprints:
    salt: str
    identifiers: dict[str, str]
    records: list[str]


_FINGERPRINTS = TypeAdapter(_Fingerprints)


@dataclass
class Erasures:
    """The fingerprints of everybody who was erased; kept in `path`."""

    path: Path
    salt: str = field(default_factory=lambda: secrets.token_hex(32))
    identifiers: dict[str, str] = field(default_factory=dict)  # fingerprint → erased at
    records: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Erasures:
        """Those of the file, or none."""
        if not path.exists():
            return cls(path)
        try:
            kept = _FINGERPRINTS.validate_json(path.read_bytes())
        except (OSError, ValueError) as error:  # a ValidationError of pydantic is a ValueError
            said = str(error) if isinstance(error, OSError) else "it holds something else"
            raise DamagedError(
                f"{path}, by which erased people are known again, is damaged: {said}. Restore it from a backup: "
                "without it, they would come back from Kafka"
            ) from error
        return cls(path, **vars(kept))

    def knows(self, namespace: str, identifier: str) -> bool:
        """Whether somebody with this identifier (normalised) was erased."""
        return self._fingerprint(f"{namespace}:{identifier}") in self.identifiers

    def add(self, person: Person, hashes: Iterable[str], at: datetime) -> None:
        """Remember a person and the hashes of their records, before anything is erased."""
        named = {f"{namespace}:{identifier}" for namespace, identifier in person.identifiers}
        for text in sorted(named | {f"name:{name}" for name in person.names}):
            self.identifiers[self._fingerprint(text)] = at.astimezone(UTC).isoformat()
        self.records = sorted({*self.records, *map(self._fingerprint, hashes)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        swap(self.path, json.dumps({"salt": self.salt, "identifiers": self.identifiers, "records": self.records}))

    def withhold(self, judged: Judged, identity: Identity | None = None) -> Judged:
        """`judged` without what is an erased person's: of that the coordinates stay, rejected as `erased`.

        An event is theirs where its strongest identifier is; from the events of others their identifiers are taken out.
        An event that happened after the erasure is a new beginning, and is let in.
        """
        if not self.identifiers:
            return judged
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            known = pa.table({"print": list(self.identifiers), "erased_at": list(self.identifiers.values())})
            connection.register("known", known)
            connection.register("known_records", pa.table({"print": pa.array(self.records, pa.string())}))
            accepted, gone = self._apart(connection, judged.accepted, identity or Identity())
            rejected, more = self._apart(connection, judged.rejected, identity or Identity())
        return Judged(accepted, pa.concat_tables([rejected, gone, more]))

    def _apart(
        self, connection: duckdb.DuckDBPyConnection, rows: pa.Table, identity: Identity
    ) -> tuple[pa.Table, pa.Table]:
        find_named(connection, numbered(connection, rows), "named", identity)
        connection.execute(
            f"""
            create or replace temp table theirs as
            select named.*, row_number() over (
                partition by named.place, named.role order by named.strength, named.namespace, named.identifier
            ) = 1 as is_strongest, known.print is not null as is_known
            from named
            inner join landed on named.place = landed.place
            left join known
                on known.print = sha256('{self.salt}:' || named.namespace || ':' || named.identifier)
                and coalesce(landed.occurred_at <= known.erased_at::timestamptz, true);
            create or replace temp table gone as
            select place from landed
            where sha256('{self.salt}:' || payload_hash) in (select print from known_records)
            union
            select place from theirs where is_known and (is_strongest or role <> 'named');
            create or replace temp table named_beside as
            select place, list(namespace) as namespaces from theirs where is_known group by place
            """
        )
        kept = connection.sql(
            """
            select landed.* replace (
                case
                    when named_beside.place is null then landed.identifiers
                    else map_from_entries(list_filter(
                        map_entries(landed.identifiers),
                        lambda entry: not list_contains(named_beside.namespaces, entry.key)
                    ))
                end as identifiers
            )
            from landed left join named_beside on landed.place = named_beside.place
            where landed.place not in (from gone)
            """
        ).to_arrow_table()
        gone = connection.sql(f"select {tombstone()} from landed where place in (from gone)").to_arrow_table()
        return kept.select(rows.column_names).cast(rows.schema), gone.cast(REJECTED_EVENTS)

    def _fingerprint(self, text: str) -> str:
        return hashlib.sha256(f"{self.salt}:{text}".encode()).hexdigest()


def tombstone() -> str:
    """SQL: the columns of a record that was erased: where it was, and nothing else."""
    return ", ".join(f"{BLANK.get(name, quoted(name))} as {quoted(name)}" for name in REJECTED_EVENTS.names)


def redacted(text: str) -> str:
    """SQL: `text` without what the variable `anywhere` (`Person.anywhere`) finds.

    Twice: between two names side by side stands one character, which belongs to both.
    """
    once = "regexp_replace({}, getvariable('anywhere'), '" + rf"\1{ERASED}\2" + "', 'g')"
    return once.format(once.format(text))
