"""Who is to be forgotten, how they are found in text, and how a replay does not bring them back.

What stays of an erased person is a list of salted fingerprints (sha256 over salt, namespace and identifier, and over
salt and the hash of a record): enough to know them again, too little to read them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from journey_core.contract import REJECTED_EVENTS, Judged
from journey_core.models import shipped_models

#: From this length on an identifier is looked for anywhere in a text; a shorter one only as a whole JSON string.
SURELY_ONES_OWN = 8
ERASED = "(erased)"


@dataclass(frozen=True)
class Person:
    """One component: its customer, its identifiers (normalised, and as they were written) and its events."""

    customer_id: str | None
    identifiers: frozenset[tuple[str, str]]
    written: frozenset[tuple[str, str]]
    event_ids: frozenset[str]

    def patterns(self) -> tuple[str, str]:
        """Two regular expressions, either may match nothing: what is theirs anywhere, and as a whole JSON string."""
        names = {name for _, name in self.identifiers | self.written} | (
            {self.customer_id} if self.customer_id else set()
        )
        texts = {text for name in names for text in (name, json.dumps(name)[1:-1])}
        anywhere = sorted(re.escape(text) for text in texts if len(text) >= SURELY_ONES_OWN)
        whole = sorted(f'"{re.escape(text)}"' for text in texts if len(text) < SURELY_ONES_OWN)
        return _any_of(anywhere), _any_of(whole)


def _any_of(parts: list[str]) -> str:
    return f"(?i)(?:{'|'.join(parts)})" if parts else r"[^\s\S]"


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
        return cls(path, **json.loads(path.read_text())) if path.exists() else cls(path)

    def knows(self, namespace: str, identifier: str) -> bool:
        """Whether somebody with this identifier (normalised) was erased."""
        return self._fingerprint(f"{namespace}:{identifier}") in self.identifiers

    def add(self, person: Person, hashes: Iterable[str], at: datetime) -> None:
        """Remember a person and the hashes of their records, before anything is erased."""
        for namespace, identifier in sorted(person.identifiers):
            self.identifiers[self._fingerprint(f"{namespace}:{identifier}")] = at.astimezone(UTC).isoformat()
        self.records = sorted({*self.records, *map(self._fingerprint, hashes)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(f".{self.path.name}.tmp")
        with open(aside, "w", encoding="utf-8") as file:
            json.dump({"salt": self.salt, "identifiers": self.identifiers, "records": self.records}, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path)

    def withhold(self, judged: Judged) -> Judged:
        """`judged` without what is an erased person's: of that the coordinates stay, rejected as `erased`.

        An event that happened after the erasure is a new beginning, and is let in.
        """
        if not self.identifiers:
            return judged
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            known = pa.table({"print": list(self.identifiers), "erased_at": list(self.identifiers.values())})
            connection.register("known", known)
            connection.register("known_records", pa.table({"print": pa.array(self.records, pa.string())}))
            (model,) = [model for model in shipped_models() if model.name == "staging.event_identifiers"]
            connection.execute("create schema staging; create schema taxonomy")
            connection.execute("create table taxonomy.namespaces (namespace varchar, class varchar, strength integer)")
            parts = {}
            for name, rows in (("accepted", judged.accepted), ("rejected", judged.rejected)):
                connection.register("incoming", rows)
                connection.execute(
                    f"""
                    create or replace temp table {name} as select row_number() over () as place, * from incoming;
                    create or replace table staging.events as
                    select place::varchar as event_id, occurred_at, sequence, event_type,
                        coalesce(identifiers, map()) as identifiers, properties
                    from {name};
                    create or replace temp table theirs as
                    select place from {name}
                    where sha256('{self.salt}' || ':' || payload_hash) in (select print from known_records)
                    union
                    select named.event_id::bigint from ({model.sql}) as named
                    inner join known
                        on known.print = sha256('{self.salt}' || ':' || named.namespace || ':' || named.identifier)
                    where coalesce(named.occurred_at <= known.erased_at::timestamptz, true)
                    """
                )
                kept = f"select * exclude (place) from {name} where place not in (from theirs)"
                parts[name] = connection.sql(kept).to_arrow_table().cast(rows.schema)
                empty = ", ".join(f"null as {c}" for c in REJECTED_EVENTS.names[5:] if c not in ("reason", "detail"))
                gone = (
                    f"select topic, generation, partition, \"offset\", kafka_timestamp, {empty}, 'erased' as reason,"
                    f" 'the person was erased' as detail from {name} where place in (from theirs)"
                )
                found = connection.sql(gone).to_arrow_table().select(REJECTED_EVENTS.names)
                parts[f"{name} gone"] = found.cast(REJECTED_EVENTS)
        rejected = pa.concat_tables([parts["rejected"], parts["accepted gone"], parts["rejected gone"]])
        return Judged(parts["accepted"], rejected)

    def _fingerprint(self, text: str) -> str:
        return hashlib.sha256(f"{self.salt}:{text}".encode()).hexdigest()
