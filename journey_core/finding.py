"""Which landed records name a person, and what stays of the records of others."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from journey_core.identity import Identity
from journey_core.privacy import Person, find_named, text_of
from journey_core.shapes import ERASED, teach

_SEALED = "starts_with(key::varchar, 'sealed:') or starts_with(value::varchar, 'sealed:')"
#: Of sealed records (`place`, `key`, `value`) the places of those that are looked for.
Unseal = Callable[[pa.Table], list[str]]


@dataclass(frozen=True)
class Found:
    """A person's records, per table, in the lake of this identity; `hash_before` is a record's payload hash."""

    lake: str
    tables: Mapping[str, pa.Table]

    @property
    def removed(self) -> int:
        """How many records go as a whole."""
        return sum(int(pc.sum(rows["is_gone"]).as_py() or 0) for rows in self.tables.values())

    @property
    def redacted(self) -> int:
        """How many records of others lose the person's names."""
        return sum(int(rows.num_rows) for rows in self.tables.values()) - self.removed

    @property
    def hashes(self) -> set[str]:
        """The hashes of their payloads, as far as these have one."""
        return {digest for rows in self.tables.values() for digest in rows["hash_before"].to_pylist()} - {None}


def theirs(
    connection: duckdb.DuckDBPyConnection,
    landed: str,
    name: str,
    person: Person,
    identity: Identity,
    unseal: Unseal | None,
) -> pa.Table:
    """The records of `landed` (SQL, of the table `name`) that name a person, with the columns that change.

    `is_gone` where the record is theirs; of the others the columns are without their names.
    """
    connection.execute("set timezone = 'UTC'")
    place = """topic || ' ' || coalesce(generation, 0) || ' ' || "partition" || ' ' || "offset\""""
    rows = f"(select {place} as place, * from {landed})"
    columns = "place, occurred_at, sequence, event_type, coalesce(identifiers, map()) as identifiers, properties"
    find_named(connection, f"(select {columns} from {rows})", "named", identity)
    teach(connection, person.patterns())
    connection.execute("set variable events = $1::varchar[]", [sorted(person.event_ids)])
    # A new name for an id that names them: the same for its copies, and nobody can try names.
    connection.execute("set variable nonce = $1", [secrets.token_hex(16)])
    both = sorted(person.identifiers)
    connection.execute(
        "create or replace temp table known as"
        " select unnest($1::varchar[]) as namespace, unnest($2::varchar[]) as identifier",
        [[namespace for namespace, _ in both], [identifier for _, identifier in both]],
    )
    connection.execute(
        """
        create or replace temp table theirs as
        select place, list(namespace) filter (where role <> 'merged_with') as namespaces,
            bool_or(role = 'merged_with') as is_merged_with
        from named inner join known using (namespace, identifier)
        group by place
        """
    )
    opened: list[str] = []
    if name == "rejected_events" and unseal is not None:
        opened = unseal(connection.sql(f"select place, key, value from {rows} where {_SEALED}").to_arrow_table())
    connection.execute("set variable opened = $1::varchar[]", [opened])
    without = """json_merge_patch(properties, '{"with": null}')"""
    unmerged = f"case when theirs.is_merged_with then {without} else properties end"
    is_theirs = "coalesce(event_id in (select unnest(getvariable('events'))), false)"
    texts = ["event_id", "event_type", "channel", "initiator", "context", "properties", "extra"]
    texts += ["array_to_string(map_keys(identifiers) || map_values(identifiers), chr(10))"]
    is_found = "false"
    if name == "rejected_events":
        texts += ["field", "detail", text_of("key"), text_of("value")]
        is_found = f"is_name({text_of('key')}) or landed.place in (select unnest(getvariable('opened')))"
    return connection.sql(
        f"""
        select topic, coalesce(generation, 0) as generation, "partition", "offset", kafka_timestamp, landed_at,
            -- The bytes of a record that was refused cannot be redacted: it goes as a whole.
            {name == "rejected_events"} or {is_theirs} as is_gone,
            payload_hash as hash_before,
            -- Another row is another record: builds know by the hash that it has changed.
            sha256(payload_hash || '{ERASED}') as payload_hash,
            case
                when is_named(event_id) then 'erased:' || left(sha256(getvariable('nonce') || event_id), 32)
                else event_id
            end as event_id,
            without_names(event_type) as event_type,
            map_from_entries(list_filter(
                map_entries(identifiers),
                lambda entry: not coalesce(list_contains(theirs.namespaces, entry.key), false)
                    and not is_named(entry.key || chr(10) || entry.value)
            )) as identifiers,
            json_without_names(context) as context,
            json_without_names({unmerged}) as properties,
            json_without_names(extra) as extra
        from {rows} as landed
        left join theirs on landed.place = theirs.place
        where (
            {is_theirs} or theirs.place is not null or {is_found} or is_named(concat_ws(chr(10), {", ".join(texts)}))
        )
            and {"reason <> 'erased'" if name == "rejected_events" else "true"}
        """
    ).to_arrow_table()
