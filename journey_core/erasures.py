"""How a replay does not bring erased people back: their fingerprints.

Three kinds of fingerprints of an identifier are effective; which one is written depends on what is set:

- `keyed`: HMAC-SHA-256 under a secret outside the file. Who has the file alone learns nothing.
- `slow`, where no secret is set: scrypt. A landing cannot afford that for every identifier, so a few leading bits of a
  fast hash lie beside it: one stranger in 200 passes them and is hashed slowly. Whoever has the file can try out
  identifiers at that price: docs/runbook.md has the numbers.
- `identifiers`: salted sha256, of before. It cannot be made slower afterwards.

Sources: RFC 2104 (HMAC), RFC 7914 (scrypt).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
from pydantic import TypeAdapter

from journey_core.contract import REJECTED_EVENTS, Judged
from journey_core.errors import DamagedError, InputError
from journey_core.files import swap
from journey_core.identity import Identity
from journey_core.keyed import teach_keyed
from journey_core.privacy import Person, find_keyed, find_named, numbered, tombstone

# Of the first fingerprint; each doubling of their number shows one bit more.
_PASSING_BITS = 10
# 16 MB and some 60 ms each.
_SCRYPT: Mapping[str, int] = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}


@dataclass(frozen=True)
class _Slow:
    """`prefix` is the first `bits` bits of a fast hash, `print` the slow one, in hex."""

    bits: int
    prefix: int
    print: str
    at: str


@dataclass(frozen=True)
class _Kept:
    """What the file holds; `identifiers` and `keyed` are fingerprint → erased at."""

    salt: str
    identifiers: dict[str, str] = field(default_factory=dict)
    records: list[str] = field(default_factory=list)
    keyed: dict[str, str] = field(default_factory=dict)
    keyed_by: str | None = None  # tells another key from the one that `keyed` was made with
    slow: list[_Slow] = field(default_factory=list)


_FILE = TypeAdapter(_Kept)


class Erasures:
    """The fingerprints of everybody who was erased; kept in `path`. `key` is the secret of those that are keyed."""

    def __init__(self, path: Path, key: str | None = None) -> None:
        self.path = path
        self._key = key
        self._kept = _Kept(secrets.token_hex(32))

    @classmethod
    def read(cls, path: Path, key: str | None = None) -> Erasures:
        """Those of the file, or none.

        Raises DamagedError where it is something else, InputError where `key` is not the one that it was written with.
        """
        read = cls(path, key)
        if not path.exists():
            return read
        try:
            read._kept = _FILE.validate_json(path.read_bytes())
        except (OSError, ValueError) as error:  # a ValidationError of pydantic is a ValueError
            said = str(error) if isinstance(error, OSError) else "it holds something else"
            raise DamagedError(
                f"{path}, by which erased people are known again, is damaged: {said}. Restore it from a backup: "
                "without it, they would come back from Kafka"
            ) from error
        if read._kept.keyed_by is not None and read._kept.keyed_by != read._key_check():
            said = "is not set" if key is None else "is another one"
            raise InputError(
                f"{path} knows erased people by a JOURNEY_ERASURE_KEY, and that {said}: they would come back from "
                "Kafka. Set the key that was set when they were erased"
            )
        return read

    def __bool__(self) -> bool:
        """Whether anybody was ever erased."""
        return bool(self._kept.identifiers or self._kept.keyed or self._kept.slow)

    def knows(self, namespace: str, identifier: str) -> bool:
        """Whether somebody with this identifier (normalised) was erased."""
        with duckdb.connect() as connection:
            self.match(connection, "select $text as text", {"text": f"{namespace}:{identifier}"})
            return bool(connection.execute("from erased_texts").fetchall())

    def add(self, person: Person, hashes: Iterable[str], at: datetime) -> None:
        """Remember a person and the hashes of their records, before anything is erased. The caller holds the lock."""
        named = {f"{namespace}:{identifier}" for namespace, identifier in person.identifiers}
        texts = sorted(named | {f"name:{name}" for name in person.names})
        kept, when = self._kept, at.astimezone(UTC).isoformat()
        records = sorted({*kept.records, *map(self._fast, hashes)})
        if self._key is not None:
            keyed = kept.keyed | {self._keyed(text): when for text in texts}
            self._kept = _Kept(kept.salt, kept.identifiers, records, keyed, self._key_check(), kept.slow)
        else:
            by_print = {entry.print: entry for entry in kept.slow}
            for text, slow in zip(texts, self._slowly(texts), strict=True):
                # The more there are, the more bits each of them shows: or every stranger would pass one.
                bits = by_print[slow].bits if slow in by_print else _PASSING_BITS + len(by_print).bit_length()
                by_print[slow] = _Slow(bits, self._prefix(text) >> (64 - bits), slow, when)
            self._kept = _Kept(kept.salt, kept.identifiers, records, kept.keyed, kept.keyed_by, [*by_print.values()])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        swap(self.path, json.dumps(asdict(self._kept)))

    def match(self, connection: duckdb.DuckDBPyConnection, texts: str, values: Mapping[str, str] | None = None) -> None:
        """Create the table `erased_texts(text, erased_at)`: which of the texts that a select gives are fingerprinted.

        A text is `<namespace>:<identifier>`, normalised, or `name:<customer_id>`. `values` are the select's parameters.
        """
        kept = self._kept
        asked = (
            f"create or replace temp table asked_texts as select distinct text from ({texts}) where text is not null"
        )
        connection.execute(asked, dict(values or {}))
        connection.execute("create or replace temp table erased_texts (text varchar, erased_at timestamptz)")
        teach_keyed(connection, self._key or "")
        for how, prints in (("sha256", kept.identifiers), ("keyed", kept.keyed)):
            if not prints:
                continue
            connection.register("known", pa.table({"print": list(prints), "erased_at": list(prints.values())}))
            connection.execute(
                "insert into erased_texts select text, erased_at::timestamptz"
                f" from asked_texts inner join known on {how}($salt || ':' || text) = known.print",
                {"salt": kept.salt},
            )
            connection.unregister("known")
        if kept.slow:
            self._match_slowly(connection)

    def _match_slowly(self, connection: duckdb.DuckDBPyConnection) -> None:
        prefixes = {(entry.bits, entry.prefix) for entry in self._kept.slow}
        columns = {"bits": [bits for bits, _ in prefixes], "prefix": [prefix for _, prefix in prefixes]}
        connection.register("prefixes", pa.table({name: pa.array(of, pa.uint64()) for name, of in columns.items()}))
        passing = connection.execute(
            """
            select distinct hashed.text
            from (
                select text, ('0x' || left(sha256('prefix:' || $salt || ':' || text), 16))::ubigint as number
                from asked_texts
            ) as hashed
            cross join (select distinct bits from prefixes) as lengths
            inner join prefixes
                on lengths.bits = prefixes.bits and hashed.number >> (64 - lengths.bits) = prefixes.prefix
            order by 1
            """,
            {"salt": self._kept.salt},
        ).fetchall()
        connection.unregister("prefixes")
        texts = [text for (text,) in passing]
        known = {entry.print: entry.at for entry in self._kept.slow}
        found = [(text, known[slow]) for text, slow in zip(texts, self._slowly(texts), strict=True) if slow in known]
        if found:
            connection.executemany("insert into erased_texts values (?, ?::timestamptz)", found)

    def withhold(self, judged: Judged, identity: Identity | None = None) -> Judged:
        """`judged` without what is an erased person's: of that the coordinates stay, rejected as `erased`.

        An event is theirs where its strongest identifier is; from the events of others their identifiers are taken out.
        An event that happened after the erasure is a new beginning, and is let in: all that is known of its time must
        be later than the erasure, and it must not lie ahead of its landing. A clock that runs ahead is no evidence.
        """
        if not self:
            return judged
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            connection.register("known_records", pa.table({"print": pa.array(self._kept.records, pa.string())}))
            accepted, gone = self._apart(connection, judged.accepted, identity or Identity())
            rejected, more = self._apart(connection, judged.rejected, identity or Identity())
        return Judged(accepted, pa.concat_tables([rejected, gone, more]))

    def _apart(
        self, connection: duckdb.DuckDBPyConnection, rows: pa.Table, identity: Identity
    ) -> tuple[pa.Table, pa.Table]:
        find_named(connection, numbered(connection, rows), "named", identity)
        if "key" in rows.column_names:
            find_keyed(connection, "named", identity)
        self.match(connection, "select namespace || ':' || identifier as text from named")
        connection.execute(
            f"""
            create or replace temp table theirs as
            select named.*, row_number() over (
                partition by named.place, named.role order by named.strength, named.namespace, named.identifier
            ) = 1 as is_strongest, erased_texts.text is not null as is_known
            from named
            inner join landed on named.place = landed.place
            left join erased_texts
                on erased_texts.text = named.namespace || ':' || named.identifier
                and not coalesce(
                    least(landed.occurred_at, landed.received_at, landed.kafka_timestamp) > erased_texts.erased_at
                    and coalesce(landed.occurred_at <= landed.landed_at, true),
                    false
                );
            create or replace temp table gone as
            select place from landed
            where sha256('{self._kept.salt}:' || payload_hash) in (select print from known_records)
            union
            select place from theirs where is_known and (is_strongest or role <> 'named');
            create or replace temp table named_beside as
            select place, list(distinct namespace) as namespaces from theirs where is_known group by place
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

    def _fast(self, text: str) -> str:
        return hashlib.sha256(f"{self._kept.salt}:{text}".encode()).hexdigest()

    def _keyed(self, text: str) -> str:
        return hmac.new((self._key or "").encode(), f"{self._kept.salt}:{text}".encode(), hashlib.sha256).hexdigest()

    def _key_check(self) -> str | None:
        return None if self._key is None else self._keyed("a text that names nobody")

    def _prefix(self, text: str) -> int:
        return int(hashlib.sha256(f"prefix:{self._kept.salt}:{text}".encode()).hexdigest()[:16], 16)

    def _slowly(self, texts: Sequence[str]) -> list[str]:
        with ThreadPoolExecutor() as pool:  # hashing lets other threads run
            return list(pool.map(_scrypt, [self._kept.salt] * len(texts), texts))


@cache
def _scrypt(salt: str, text: str) -> str:
    """Kept as long as the process lives: the same strangers come again, batch after batch."""
    return hashlib.scrypt(text.encode(), salt=salt.encode(), **_SCRYPT).hex()
