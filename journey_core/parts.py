"""A full build of more than fits into memory: the same selects, part by part.

A model whose rows are one event's, or one customer's, gives the same rows whether it looks at all of them at once or at
one part after the other. Its joins and windows then stay in memory, instead of going to disk and back: the time for an
event does not grow. What a part is follows from the model's unit: a range of event keys, or a range of customers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import duckdb

from journey_core.increment import columns_of
from journey_core.models import Model

# What a model's largest join or window takes, measured: ten million events in 12 GB do not spill.
BYTES_AN_EVENT = 1200
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")  # as DuckDB writes its settings
_EVERY_KEY = 2**128
_OWNERS = "intermediate.event_owners"


@dataclass(frozen=True)
class Parts:
    """How a full build of `models` is cut, for a connection and its memory limit."""

    connection: duckdb.DuckDBPyConnection
    models: Mapping[str, Model]

    def selects(self, model: Model) -> Iterator[str]:
        """The model's select; several, in no order, where all at once would not fit. Their rows are its rows."""
        # Of what reads the lake nothing tells a part before it is read.
        reads_lake = any(name.startswith("lake.") for name in model.upstreams)
        is_whole = model.is_view or reads_lake or model.unit not in ("per_event", "per_customer")
        columns = {} if is_whole or self._count == 1 else columns_of(self.connection)
        cut = [name for name in sorted(model.upstreams) if self._is_cut(name, columns.get(name, []), model)]
        if not cut:
            yield model.sql
            return
        wheres = self._event_ranges() if model.unit == "per_event" else self._customer_ranges()
        for by_event, by_customer in wheres:
            sql = model.sql
            for name in cut:
                is_customers = model.unit == "per_customer" and "customer_id" in columns[name]
                where = by_customer if is_customers else by_event
                sql = re.sub(rf"(?<=\bfrom ){name}\b|(?<=\bjoin ){name}\b", f"(from {name} where {where})", sql)
            yield sql

    def _is_cut(self, name: str, columns: list[str], model: Model) -> bool:
        """Whether each row of an upstream matters to one part alone."""
        unit = self.models[name].unit if name in self.models else "source"
        if model.unit == "per_customer" and "customer_id" in columns:
            return unit in ("per_event", "per_customer")
        return "event_key" in columns

    @cached_property
    def _count(self) -> int:
        ((events,),) = self.connection.execute("select count(*) from lake.events").fetchall()
        ((limit,),) = self.connection.execute("select current_setting('memory_limit')").fetchall()
        number, unit = limit.split()
        share: float = events * BYTES_AN_EVENT / (float(number) * 1024 ** _UNITS.index(unit))
        return math.ceil(max(1, share))

    def _event_ranges(self) -> list[tuple[str, str]]:
        """Conditions on event keys; the second of each has no meaning."""
        bounds = [_EVERY_KEY * part // self._count for part in range(self._count)]
        return [(_between("event_key", low, high), "") for low, high in pairwise([*map(str, bounds), None])]

    def _customer_ranges(self) -> list[tuple[str, str]]:
        """Conditions that choose the same customers: on a table of events, and on one with `customer_id`."""
        return [(f"event_key in (select event_key from {_OWNERS} where {where})", where) for where in self._customers]

    @cached_property
    def _customers(self) -> list[str]:
        """Ranges of customers, with about as many events each. Looked for when events have owners."""
        shares = [part / self._count for part in range(1, self._count)]
        rows = self.connection.execute(
            f"""
            select distinct unnest(quantile_disc(customer_id, $1::double[])) as bound
            from (select customer_id from {_OWNERS} using sample reservoir(100000 rows) repeatable (1))
            order by bound
            """,
            [shares],
        ).fetchall()
        # As a variable: no text of a customer's becomes SQL.
        self.connection.execute("set variable customer_bounds = $1::varchar[]", [[bound for (bound,) in rows]])
        bounds = [f"getvariable('customer_bounds')[{place}]" for place in range(1, len(rows) + 1)]
        return [_between("customer_id", low, high) for low, high in pairwise([None, *bounds, None])]


def _between(column: str, low: str | None, high: str | None) -> str:
    """SQL: from `low` on, until before `high`; None is no bound."""
    terms = [f"{column} >= {low}" if low is not None else "", f"{column} < {high}" if high is not None else ""]
    return " and ".join(filter(None, terms)) or "true"
