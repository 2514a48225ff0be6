"""What one build remembers of those before it: why rows moved, and whose an identifier was.

Kept in schema `meta` of the warehouse, written in the transaction of the build that it tells of. These are the only
tables that depend on which builds there were; everything else is a function of the events (law L6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from journey_core.models import Model

#: The marts whose rows are one customer's, and can be restated.
LEDGERED = ("touchpoints", "sessions", "journeys", "stage_transitions", "funnel_attempts")

_TABLES = """
create schema if not exists meta;
create table if not exists meta.builds (build_order bigint, build json);
create table if not exists meta.models (model varchar, fingerprint varchar);
create table if not exists meta.files (file varchar);
create table if not exists meta.restatements (
    "table" varchar, customer_id varchar, build_id varchar, cause varchar, rows_before bigint, rows_after bigint,
    build_order bigint
);
create table if not exists meta.identity_history (
    namespace varchar, identifier varchar, since timestamptz, customer_id varchar, evidence varchar,
    identifier_key uhugeint, valid_from_build varchar, valid_to_build varchar
);
"""
_MAPPED = "namespace, identifier, since, customer_id, evidence, identifier_key"


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """The tables of schema `meta`, where they are missing."""
    connection.execute(_TABLES)


@dataclass
class Ledger:
    """The entries of one build."""

    connection: duckdb.DuckDBPyConnection
    build_id: str
    _before: dict[str, str] = field(default_factory=dict)

    def look_at(self, stale: Sequence[Model]) -> None:
        """Remember each customer's rows of the ledgered marts that are built in full, before they are."""
        existing = {
            name
            for (name,) in self.connection.execute(
                "select schema_name || '.' || table_name from duckdb_tables() where database_name = current_database()"
            ).fetchall()
        }
        for table in LEDGERED:
            name = f"marts.{table}"
            if name in existing & {model.name for model in stale}:
                self._before[table] = f"before_{table}"
                self.connection.execute(f"create or replace temp table before_{table} as {digests(name)}")

    def write(self, entries: str) -> None:
        """Write entries: a select of table, customer_id, cause, rows_before, rows_after."""
        self.connection.execute(
            f"""
            insert into meta.restatements
            select "table", customer_id, ?, cause, rows_before, rows_after,
                (select coalesce(max(build_order), 0) + 1 from meta.builds)
            from ({entries})
            """,
            [self.build_id],
        )

    def compare(self) -> None:
        """Write whose rows differ in the marts that were built in full."""
        for table, before in self._before.items():
            differing = differing_customers(table, f"from {before}", digests(f"marts.{table}"))
            self.write(f"select *, 'configuration' as cause from ({differing})")

    def remember_identity(self, touched: str | None) -> None:
        """Close what is no longer so, and open what is new. `touched` is a table of identifier keys; None means all."""
        within = "" if touched is None else f"and identifier_key in (from {touched})"
        now = f"select {_MAPPED} from marts.identity_map where true {within}"
        held = f"select {_MAPPED} from meta.identity_history where valid_to_build is null {within}"
        self.connection.execute(f"create or replace temp table opened as {now} except {held}")
        self.connection.execute(f"create or replace temp table closed as {held} except {now}")
        self.connection.execute(
            f"""
            update meta.identity_history set valid_to_build = ?
            where valid_to_build is null and row({_MAPPED}) in (select row({_MAPPED}) from closed)
            """,
            [self.build_id],
        )
        self.connection.execute(
            f"insert into meta.identity_history select {_MAPPED}, ?, null from opened", [self.build_id]
        )

    def remember(self, build: str, code: Mapping[str, str], files: Sequence[str]) -> None:
        """The build itself, and what the next one compares with."""
        self.connection.execute(
            "insert into meta.builds select coalesce(max(build_order), 0) + 1, ? from meta.builds", [build]
        )
        self.connection.execute("delete from meta.models")
        self.connection.execute(
            "insert into meta.models select unnest($1), unnest($2)", [list(code), list(code.values())]
        )
        self.connection.execute("delete from meta.files")
        self.connection.execute("insert into meta.files select unnest($1::varchar[])", [list(files)])


def digests(rows: str) -> str:
    """SQL: per customer a number of its rows and a digest of them; `rows` is a table, or a table and its condition."""
    return (
        "select customer_id, count(*) as row_count, sum(hash(rows)::hugeint) as digest"
        f" from (from {rows}) as rows group by customer_id"
    )


def differing_customers(table: str, old: str, new: str) -> str:
    """SQL: table, customer_id, rows before and after, of every customer whose `digests` differ."""
    return f"""
        select '{table}' as "table", coalesce(old.customer_id, new.customer_id) as customer_id,
            coalesce(old.row_count, 0) as rows_before, coalesce(new.row_count, 0) as rows_after
        from ({old}) as old
        full join ({new}) as new on old.customer_id = new.customer_id
        where old.digest is distinct from new.digest
    """
