"""What changed since the last build, and only that: the same selects, run over the affected customers.

A *slice* is a catalog in memory, under whose schema names every model finds its upstreams restricted to what it must
look at again. What the models give lies in `out` until one transaction puts it into the warehouse. Nothing there is
written before, and there is no second code path: the SQL is the full build's (law L6).

How far a change reaches is written once, in `_GROWTH`: changed records name events, events name identifiers, these
their component, components the shared devices beside them, and all of them the customers whose rows are built again.
docs/decisions/0009 says why that is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from journey_core.ledger import differing_customers, digests
from journey_core.models import Model, naming

# A record as the lake has it, and as staging.landed_records remembers it.
_PLACE = 'topic, generation, partition, "offset"'
_LANDED = f"{_PLACE}, md5_number(event_id) as event_key, ('0x' || left(payload_hash, 16))::ubigint as payload_mark"
_RECORD = f"{_PLACE}, event_key, payload_mark"
# Which column names the unit, where a model has several of them.
_KEYS = {
    "per_event": ("event_key",),
    "per_identifier": ("identifier_key", "from_key"),
    "per_customer": ("customer_id",),
}


@dataclass
class Slice:
    """The slice of one build, of all its models by name; it is open from `open` to `close`."""

    connection: duckdb.DuckDBPyConnection
    models: Mapping[str, Model]
    _warehouse: str = ""
    _sources: dict[str, str] = field(default_factory=dict)  # lake table → what to select from
    _news: str | None = None  # the same for the events in new files, where no file has gone
    _columns: dict[str, list[str]] = field(default_factory=dict)
    _within: dict[str, tuple[str, str] | None] = field(default_factory=dict)  # built model → (key, scope); None: whole
    _scopes: dict[str, str] = field(default_factory=dict)  # unit → the table of its keys now
    _mentions: str = ""  # the table of the events that name one of the identifiers
    _cuts: dict[tuple[str, str], str] = field(default_factory=dict)  # upstream, table of events → its rows of these

    def open(self, sources: Mapping[str, str | pa.Table], news: str | None) -> None:
        """Attach the catalog.

        `sources` is lake table → what to select from; `news` the same for the events in new files, None where the last
        build's files are not all there any more.
        """
        (self._warehouse,) = self.connection.execute("select current_database()").fetchall()[0]
        self._news = news
        self.connection.execute("attach ':memory:' as slice")
        for schema in sorted({name.split(".")[0] for name in self.models} | {"lake", "meta", "out", "scope"}):
            self.connection.execute(f"create schema slice.{schema}")
        for name, rows in sources.items():
            if isinstance(rows, str):
                self._sources[name] = rows
            else:
                self.connection.register("incoming", rows)
                self._sources[name] = self._table(f"scope.lake_{name}", "from incoming")
                self.connection.unregister("incoming")
            self.connection.execute(f"create view slice.lake.{name} as from {self._sources[name]}")
        self._columns = columns_of(self.connection)

    def identifiers(self) -> str | None:
        """The table of the keys of all identifiers whose customer may have changed; None where all may."""
        return self._scopes.get("per_identifier") if "marts.identity_map" in self._within else None

    def close(self) -> None:
        """Detach the catalog, also after a failed build."""
        with suppress(duckdb.Error):
            self.connection.execute("rollback")
        self.connection.execute(f'use "{self._warehouse}"')
        self.connection.execute("detach database if exists slice")

    def build(self, model: Model) -> None:
        """Run the model's select over what it must look at again."""
        if model.unit != "aggregate" and "per_event" not in self._scopes:
            _records(self)
        grow = _GROWTH.get(model.name)
        if grow is not None:
            grow(self)
        if model.unit == "per_customer" and "per_customer" not in self._scopes:
            _customers(self)
        if model.is_view:
            return  # each of its readers finds its rows
        for upstream in model.upstreams:
            self._show(upstream, model)
        name = _out(model.name)
        self.connection.execute("use slice")
        sql = f"select * from ({model.sql}\n)"
        self._within[model.name] = None
        if model.unit != "aggregate":
            key = self._key(model.name)
            scope = self._scopes[model.unit]
            self._within[model.name] = (key, scope)
            if model.unit == "per_identifier":
                sql += f" where {key} in (from {scope})"
        with naming(model):
            self.connection.execute(f"create table {name} as {sql}")
        self.connection.execute(f'use "{self._warehouse}"')

    def apply(self, model: Model) -> None:
        """Put what `build` gave into the warehouse, inside the caller's transaction."""
        if model.is_view:
            return
        within = self._within[model.name]
        if within is None:
            self.connection.execute(f"create or replace table {model.name} as from {_out(model.name)}")
        else:
            key, scope = within
            self.connection.execute(f"delete from {model.name} where {key} in (from {scope})")
            self.connection.execute(f"insert into {model.name} from {_out(model.name)}")

    def current(self, name: str) -> str:
        """SQL: all rows of a table as they will be after this build."""
        if name not in self._within:
            return f"(from {self._main(name)})"
        if (within := self._within[name]) is None:
            return f"(from {_out(name)})"
        key, scope = within
        unit_key = _KEYS[self._unit(name)][0]
        # As `not in` it takes thrice as long: that would have to mind nulls.
        kept = f"from {self._main(name)} as held anti join {scope} as changed on held.{key} = changed.{unit_key}"
        return f"({kept} union all from {_out(name)})"

    def restated(self, tables: Sequence[str]) -> str:
        """SQL: table, customer_id, cause, rows before and after, of every customer whose rows this build changes."""
        owners = "intermediate.event_owners"
        events = "staging.events"
        before, after = f"(from {self._main(owners)})", self.current(owners)
        as_of = f"(select as_of from {self._main('staging.observation')})"
        known = f"select event_key from {self._main(events)} where event_key in (from slice.scope.moved_events)"
        left = f"select event_key from {_out(events)} where event_key in (from slice.scope.moved_events)"
        hands = "where event_key in (from slice.scope.moved_events)"
        causes = f"""
            select customer_id, 1 as place, 'removal' as cause from {before} {hands}
            and event_key in ({known}) and event_key in (from slice.scope.changed_events) and event_key not in ({left})
            union all
            select customer_id, 2, 'identity' from (from {before} union all from {after}) {hands}
            and event_key in ({known})
            union all
            select owned.customer_id, case when events.occurred_at <= {as_of} then 3 else 4 end,
                case when events.occurred_at <= {as_of} then 'late' else 'new' end
            from {after} as owned inner join {_out(events)} as events on owned.event_key = events.event_key
            where events.event_key not in ({known})
            union all
            select customer_id, 5, 'time' from slice.scope.waiting
        """
        parts = []
        for table in tables:
            name = f"marts.{table}"
            old, new = f"{self._main(name)} where customer_id in (from slice.scope.customers)", _out(name)
            parts.append(differing_customers(table, digests(old), digests(new)))
        return f"""
            select changed."table", changed.customer_id, changed.rows_before, changed.rows_after,
                coalesce(min_by(causes.cause, causes.place), 'identity') as cause
            from ({" union all ".join(parts)}) as changed
            left join ({causes}) as causes on changed.customer_id = causes.customer_id
            group by all
        """

    def _show(self, upstream: str, model: Model) -> None:
        """Lay a view over what `model` needs of an upstream, under that one's name."""
        shown = self.models.get(upstream)
        if shown is not None and shown.is_view:
            for behind in shown.upstreams:
                # The model's events; what the view looks at beside them is its own affair, and whole.
                self._show(behind, model if "event_key" in self._columns[behind] else shown)
            self.connection.execute("use slice")
            self.connection.execute(f"create or replace view {upstream} as {shown.sql}")
            self.connection.execute(f'use "{self._warehouse}"')
        elif upstream == "lake.events":
            self.connection.execute(f"create or replace view slice.lake.events as {self._lake_events(model)}")
        elif not upstream.startswith("lake."):
            self.connection.execute(f"create or replace view slice.{upstream} as {self._restricted(upstream, model)}")

    def _restricted(self, upstream: str, model: Model) -> str:
        """The rows of `upstream` that `model` needs; more than that would cost, and change nothing."""
        rows = self.current(upstream)
        columns = self._columns.get(upstream, [])
        scope = self._scopes.get(model.unit)
        if model.unit == "per_customer" and self._unit(upstream) == "per_customer":
            return f"from {_out(upstream)}"
        if model.unit == "per_customer" and "event_key" in columns:
            return f"from {self._cut(upstream, 'slice.scope.customer_events')}"
        if model.unit == "per_event" and "event_key" in columns:
            return f"from {rows} where event_key in (from {scope})"
        if model.unit == "per_identifier":
            if "event_key" in columns:
                return f"from {self._cut(upstream, self._mentions)}"
            if self._unit(upstream) == "per_identifier" and len(model.grain) == 1:
                return f"from {rows} where {self._key(upstream)} in (from {scope})"
        return f"from {rows}"

    def _cut(self, upstream: str, events: str) -> str:
        """The table of an upstream's rows of `events`: found once, as several models read them, and more than once."""
        if (upstream, events) not in self._cuts:
            theirs = f"where event_key in (from {events})"
            self._cuts[upstream, events] = self._table(
                f"scope.cut_{len(self._cuts)}", f"from {self.current(upstream)} {theirs}"
            )
        return self._cuts[upstream, events]

    def _lake_events(self, model: Model) -> str:
        if model.unit != "per_event":
            return f"from {self._sources['events']}"
        scope = self._scopes["per_event"]
        if self._news is not None:
            known = f"select event_key from {self._main('staging.landed_records')} where event_key in (from {scope})"
            ((is_known,),) = self.connection.execute(f"select exists ({known})").fetchall()
            if not is_known:
                return f"from {self._news}"
        # Copies of an event that has landed before: that one counts again.
        return f"from {self._sources['events']} where md5_number(event_id) in (from {scope})"

    def _main(self, name: str) -> str:
        return f'"{self._warehouse}".{name}'

    def _unit(self, name: str) -> str:
        return self.models[name].unit if name in self.models else "source"

    def _key(self, name: str) -> str:
        columns = self._columns[name]
        return next(key for key in _KEYS[self._unit(name)] if key in columns)

    def _table(self, name: str, sql: str) -> str:
        self.connection.execute(f"create table slice.{name} as {sql}")
        return f"slice.{name}"

    def _grow(self, unit: str, name: str, more: str) -> None:
        """The scope of a unit gets more keys. A model that was built keeps the scope that it was built with."""
        before = f"from {self._scopes[unit]} union " if unit in self._scopes else ""
        self._scopes[unit] = self._table(f"scope.{name}", f"{before}{more}")
        if unit == "per_identifier":
            self._mentions = self._table(
                f"scope.{name}_mentions",
                f"select distinct event_key from {self.current('staging.event_identifiers')}"
                f" where identifier_key in (from {self._scopes[unit]})",
            )

    def _differing(self, name: str, column: str, without: str = "") -> str:
        """SQL: the keys whose rows differ from those of the last build, among those that were built again."""
        key, scope = self._within[name] or ("", "")
        chosen = f"* exclude ({without})" if without else "*"
        before = f"select {chosen} from {self._main(name)} where {key} in (from {scope})"
        after = f"select {chosen} from {_out(name)}"
        return _in_one_only(column, before, after)


def columns_of(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Each table and view of the warehouse, by its qualified name → its columns in their order."""
    rows = connection.execute(
        "select schema_name || '.' || table_name, list(column_name order by column_index) from duckdb_columns()"
        " where database_name = current_database() group by all"
    ).fetchall()
    return dict(rows)


def _in_one_only(column: str, one: str, other: str) -> str:
    return f"select {column} from (({one} except all {other}) union all ({other} except all {one}))"


def _out(name: str) -> str:
    return f'slice.out."{name}"'


def _records(made: Slice) -> None:
    """The events of the records that came and went."""
    if made._news is not None:
        changed = f"select md5_number(event_id) as event_key from {made._news}"
    else:
        held = f"select {_RECORD} from {made._main('staging.landed_records')}"
        changed = _in_one_only("event_key", f"select {_LANDED} from {made._sources['events']}", held)
    made._scopes["per_event"] = made._table("scope.records", f"select distinct event_key from ({changed})")


def _named_identifiers(made: Slice) -> None:
    """Events → the identifiers that they name, or named before."""
    made._table("scope.changed_events", made._differing("staging.events", "event_key", without="copies"))
    name = "staging.event_identifiers"
    changed = "where event_key in (from slice.scope.changed_events)"
    made._grow(
        "per_identifier",
        "named_identifiers",
        f"select identifier_key from {made._main(name)} {changed}"
        f" union select identifier_key from {_out(name)} {changed}",
    )


def _voided_events(made: Slice) -> None:
    """A removal that came or went voids evidence in other events, or restores it."""
    made._table("scope.voided", made._differing("intermediate.identity_removals", "identifier_key"))
    made._grow(
        "per_event",
        "voided_events",
        f"select event_key from {made.current('staging.event_identifiers')}"
        " where identifier_key in (from slice.scope.voided)",
    )


def _companions(made: Slice, keys: str) -> str:
    """SQL: the identifiers that are seen in one event with any of `keys`."""
    identifiers = made.current("staging.event_identifiers")
    return (
        f"select distinct identifier_key from {identifiers} where event_key in"
        f" (select event_key from {identifiers} where identifier_key in ({keys}))"
    )


def _counted_identifiers(made: Slice) -> None:
    """What was removed, or is again, counts no more, or again, for those that it was seen with."""
    made._grow("per_identifier", "counted_identifiers", _companions(made, "from slice.scope.voided"))


def _merged_identifiers(made: Slice) -> None:
    """Who was removed, is one subject or nobody at all, decides whether all that they were seen with may link."""
    name = "intermediate.identity_subjects"
    before, after = f"from {made._main(name)}", f"from {_out(name)}"
    made._table("scope.resubjected", _in_one_only("identifier_key", before, after))
    suspected = made._differing("intermediate.suspected_placeholders", "identifier_key")
    told = made._table("scope.told", f"from slice.scope.voided union from slice.scope.resubjected union ({suspected})")
    made._grow("per_identifier", "judged_identifiers", f"from {told} union {_companions(made, f'from {told}')}")


def _components(made: Slice) -> None:
    """Whoever may come together or fall apart: the candidates of all that was touched, as they were."""
    name = "intermediate.identifiers"
    key, scope = made._within[name] or ("", "")
    judged = "select identifier_key, refusal is null as may_link from"
    before, after = f"{judged} {made._main(name)} where {key} in (from {scope})", f"{judged} {_out(name)}"
    made._table(
        "scope.rejudged",
        f"{_in_one_only('identifier_key', before, after)} union from slice.scope.told",
    )
    touched = f"from {scope} union {_companions(made, 'from slice.scope.rejudged')}"
    candidates = made._main("intermediate.identity_candidates")
    made._grow(
        "per_identifier",
        "component_identifiers",
        f"{touched} union select identifier_key from {candidates} where candidate_key in"
        f" (select candidate_key from {candidates} where identifier_key in ({touched}))",
    )


def _shared_devices(made: Slice) -> None:
    """On a shared device one customer's login decides about the events around it."""
    shared = "('shared_device', 'removed_identity')"
    made._grow(
        "per_identifier",
        "device_identifiers",
        f"select identifier_key from {made.current('intermediate.identifiers')} where refusal in {shared}"
        f" and identifier_key in ({_companions(made, 'from ' + made._scopes['per_identifier'])})",
    )
    made._grow("per_event", "owned_events", f"from {made._mentions}")


#: Tables with an instant after which time alone changes their customer's rows.
_WAITING = {
    "marts.journeys": "open_until",
    "marts.funnel_attempts": "open_until",
    "marts.funnel_exits": "watched_until",
}


def _customers(made: Slice) -> None:
    """Events that changed, or changed hands: both sides. And whose rows change because time has passed."""
    owners = "intermediate.event_owners"
    moved = "where event_key in (from slice.scope.moved_events)"
    before, after = (f"select customer_id from {table} {moved}" for table in (made._main(owners), _out(owners)))
    changed = made._differing(owners, "event_key", without="evidence, identifier_key")
    # Whose device has come to be shared has changed no hands, and yet may have another reason for leaving.
    judged = f"select customer_id from {_out(owners)} where event_key in ({made._differing(owners, 'event_key')})"
    made._table(
        "scope.moved_events",
        f"select event_key from (from slice.scope.changed_events union {changed})",
    )
    observation = "staging.observation"
    passed = f"""
        select customer_id from {{}} cross join {made._main(observation)} as before
        cross join {_out(observation)} as after
        where {{}} >= least(before.as_of, after.as_of) and {{}} < greatest(before.as_of, after.as_of)
    """
    waiting = [(name, column) for name, column in _WAITING.items() if column in made._columns[name]]
    since = f"""
        select customer_id from {made._main("marts.journeys")} where
        (select observed_from from {made._main(observation)}) <> (select observed_from from {_out(observation)})
    """
    made._table(
        "scope.waiting",
        " union ".join([*(passed.format(made._main(name), column, column) for name, column in waiting), since]),
    )
    made._grow(
        "per_customer",
        "customers",
        f"{before} union {after} union {judged} union from slice.scope.waiting",
    )
    made._table(
        "scope.customer_events",
        f"select event_key from {made.current(owners)} where customer_id in (from slice.scope.customers)",
    )


#: What happens before a model is built: the scope of its unit grows by what earlier models have found.
_GROWTH: dict[str, Callable[[Slice], None]] = {
    "intermediate.identity_removals": _named_identifiers,
    "intermediate.identity_evidence": _voided_events,
    "intermediate.suspected_placeholders": _counted_identifiers,
    "intermediate.identifiers": _merged_identifiers,
    "intermediate.identity_links": _components,
    "intermediate.device_history": _shared_devices,
}
