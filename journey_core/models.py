"""A model is one `.sql` and its `.yaml`: folder = schema, file = table. The build order is read from the SQL itself.

Cross-model names are schema-qualified and nothing else is, so every qualified name in a model is an upstream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

import duckdb
from pydantic import Field

from journey_core.documents import Document, read_document
from journey_core.errors import JourneyError, TaxonomyError
from journey_core.expressions import ask
from journey_core.paths import SQL

SCHEMAS_IN_ORDER = ("staging", "intermediate", "marts")
Severity = Literal["fail", "warn"]
Unit = Literal["per_event", "per_identifier", "per_customer", "aggregate"]

# In DuckDB's own syntax tree, where tables alone have these two keys.
_TABLES = """
with parsed as (select json_serialize_sql($1) as tree)

select
    tree ->> '$.error_message',
    list_transform(
        list_zip(tree ->> '$..schema_name', tree ->> '$..table_name'), lambda pair: pair[1] || '.' || pair[2]
    )
from parsed
"""


class Column(Document):
    """What a column means, and what is true of it. Bounds are inclusive."""

    type: str
    about: str
    not_null: bool = False
    accepted: list[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    severity: Severity = "fail"


class Check(Document):
    """A sentence that is true of the table; `sql` returns the rows that break it."""

    check: str
    sql: str
    severity: Severity = "fail"


class Contract(Document):
    """A model's YAML twin. An empty `grain` means one row."""

    table: str
    about: str
    grain: list[str]
    columns: dict[str, Column] = {}
    checks: list[Check] = []
    materialize: Annotated[Unit, Field(description="what its rows are a function of: docs/decisions/0009")]
    is_view: Annotated[bool, Field(description="true where its rows are found faster than they are written")] = False


@dataclass(frozen=True)
class Model:
    """One table of the warehouse: `name` is schema-qualified, `sql` a bare select."""

    name: str
    sql: str
    upstreams: frozenset[str]
    contract: Contract | None = None

    @property
    def unit(self) -> Unit:
        """What its rows are a function of. A predicate looks at one event, or also at what its customer had done."""
        if self.contract is not None:
            return self.contract.materialize
        return "per_event" if self.upstreams == {"staging.events"} else "per_customer"

    @property
    def is_view(self) -> bool:
        """Whether each of its readers finds its rows anew: a predicate's, if it looks at the narrow table alone."""
        if self.contract is not None:
            return self.contract.is_view
        return self.upstreams == {"intermediate.touchpoint_history"}

    @property
    def grain(self) -> list[str]:
        """The columns that tell its rows apart; unknown of a predicate."""
        return [] if self.contract is None else self.contract.grain

    def __str__(self) -> str:
        return self.name


def upstreams_of(sql: str) -> frozenset[str]:
    """The schema-qualified tables that a select reads. `recurring.x` is a recursion's own earlier rows, no table."""
    ((mistake, tables),) = ask(_TABLES, sql)
    if mistake is not None:
        raise JourneyError(f"{mistake}: {sql}")
    return frozenset(table for table in tables if not table.startswith((".", "recurring.")))


@cache
def shipped_models() -> tuple[Model, ...]:
    """The models of `sql/`, in build order of the schemas, then by name."""
    return tuple(_read(path) for schema in SCHEMAS_IN_ORDER for path in sorted((SQL / schema).glob("*.sql")))


def compiled_models(selects: Mapping[str, str]) -> tuple[Model, ...]:
    """The predicates of a taxonomy as models of schema `taxonomy`."""
    return tuple(Model(f"taxonomy.{name}", sql, upstreams_of(sql)) for name, sql in selects.items())


def in_build_order(models: Iterable[Model]) -> list[Model]:
    """Upstreams first; the same order every time. What no model builds is a source, and is left out."""
    by_name = {model.name: model for model in models}
    graph = {name: sorted(by_name[name].upstreams & by_name.keys()) for name in sorted(by_name)}
    return [by_name[name] for name in TopologicalSorter(graph).static_order()]


def contracts(schema: str = "marts") -> list[Contract]:
    """The contracts of one schema's tables, by name."""
    return [m.contract for m in shipped_models() if m.contract is not None and m.name.startswith(f"{schema}.")]


def fingerprints(models: Iterable[Model], sources: Mapping[str, str]) -> dict[str, str]:
    """Per model a sha256 over its SQL and all that stands behind it: two equal answers mean the same rows.

    `models` in build order; `sources` is the fingerprint of each source table that does not come from the lake.
    """
    found = dict(sources)
    for model in models:
        behind = [f"{name}={found.get(name, '')}" for name in sorted(model.upstreams)]
        parts = [model.name, model.unit, "view" if model.is_view else "table", model.sql, *behind]
        found[model.name] = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return {name: found[name] for name in found if name not in sources}


@contextmanager
def naming(model: Model) -> Iterator[None]:
    """What DuckDB says of a value, or of an expression, names the model: TaxonomyError. Other errors pass through."""
    try:
        yield
    except (duckdb.DataError, duckdb.InvalidInputException, duckdb.BinderException) as error:
        raise TaxonomyError(
            f"{model.name} cannot be built: {str(error).splitlines()[0]}. The previous build stays; if the taxonomy is "
            "yours, look at the expressions that it compares"
        ) from error


def _read(path: Path) -> Model:
    sql = path.read_text(encoding="utf-8")
    return Model(
        name=f"{path.parent.name}.{path.stem}",
        sql=sql,
        upstreams=upstreams_of(sql),
        contract=read_document(path.with_suffix(".yaml"), Contract),
    )


def quoted(column: str) -> str:
    """A column's name as SQL takes it, also where it is a word of SQL."""
    return f'"{column}"'


def type_name(duckdb_type: Any) -> str:
    """A DuckDB type as contracts write it: lower case, `timestamptz` for the long name."""
    return str(duckdb_type).lower().replace("timestamp with time zone", "timestamptz")
