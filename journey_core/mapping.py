"""A mapping: one SQL expression per field of the contract, over the columns of a log (docs/recipes/mapping.md).

```yaml
mapping: loan_application
timezone: Europe/Amsterdam
where: activity <> 'A_TEST'
fields:
  event_id: "'loan-' || seq"
  event_type: activity
  channel: "case when starts_with(activity, 'W_') then 'offline' else 'web' end"
  occurred_at: timestamp
  identifiers: {customer_id: case_id}
  properties: {amount: '"case:AMOUNT_REQ"'}
```

A null leaves its field out.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field

from journey_core.documents import Document, Mistake, read_document
from journey_core.errors import TaxonomyError
from journey_core.events import Context
from journey_core.expressions import ask
from journey_core.json_text import INSTANTS, NAIVE_TIMES, NUMBERS, instant, json_object, json_text, literal
from journey_core.mapping_sql import Column, Expressions, Value
from journey_core.paths import SCHEMAS

MAPPINGS = SCHEMAS / "mappings"

Wanted = Literal["text", "time", "integer", "number", "boolean", "object", "anything"]
_WANTED: dict[Any, Wanted] = {str: "text", float: "number", bool: "boolean"}
_FIELDS: dict[str, Wanted] = {
    "occurred_at": "time",
    "sent_at": "time",
    "received_at": "time",
    "sequence": "integer",
    "identifiers": "object",
    "context": "object",
    "properties": "object",
}


def _known_encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError as error:
        raise ValueError(f"{name} is no encoding that Python knows, as utf-8, latin-1, cp1252, utf-16") from error


def _known_zone(name: str) -> str:
    if not ask("select 1 from pg_timezone_names() where name = ?", name):
        raise ValueError(f"{name} is no time zone: write one of the IANA's names, as Europe/Madrid or UTC")
    return name


class Reader(Document):
    """How to read the file. Nothing of it is found out by looking at the first rows."""

    format: Literal["csv", "tsv", "jsonl", "ndjson", "json", "parquet"] | None = None
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quote: Annotated[str, Field(max_length=1)] = '"'
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    date_order: Literal["ymd", "dmy", "mdy"] = "ymd"


class Fields(Document):
    """Field of the contract → SQL expression over the file's columns; a whole object may come from one expression."""

    event_id: str
    event_type: str
    channel: str
    occurred_at: str
    identifiers: str | Annotated[dict[Any, Any], Field(min_length=1)]
    sent_at: str | None = None
    received_at: str | None = None
    sequence: str | None = None
    initiator: str | None = None
    context: str | dict[Any, Any] = {}
    properties: str | dict[Any, Any] = {}


class Mapping(Document):
    """How one kind of log becomes events."""

    mapping: str
    about: str = ""
    reader: Reader = Reader()
    timezone: Annotated[str, AfterValidator(_known_zone)] | None = None
    where: str | None = None
    each: Annotated[dict[str, str], Field(min_length=1, max_length=1)] | None = None
    fields: Fields


@dataclass(frozen=True)
class Plan:
    """A mapping as SQL over the columns of one file: all strings are expressions.

    `each` gives a list of JSON, null where the value is no list; `event` is one event's JSON text.
    """

    where: str
    each: str | None
    item: str | None
    event: str
    used: dict[str, Column]


def read_mapping(name_or_file: Path) -> Mapping:
    """The mapping itself, not yet checked against a file. Raises TaxonomyError naming file, line and key."""
    return read_document(_mapping_path(name_or_file), Mapping)


def plan(name_or_file: Path, columns: dict[str, Column], twice: Collection[str] = ()) -> Plan:
    """Check a mapping against a file's columns; `twice` are names that the file has more than once.

    Raises TaxonomyError naming the mapping's file, line and key.
    """
    found: list[Plan] = []

    def mistakes(mapping: Mapping) -> Iterator[Mistake]:
        planner = _Planner(mapping, columns, twice)
        yield from planner.mistakes()
        found.append(planner.plan)

    read_document(_mapping_path(name_or_file), Mapping, mistakes)
    return found[0]


class _Planner:
    def __init__(self, mapping: Mapping, columns: dict[str, Column], twice: Collection[str]) -> None:
        self.mapping = mapping
        self.expressions = Expressions(columns, mapping.timezone, mapping.reader.date_order, twice)
        self.plan = Plan("true", None, None, "", {})

    def mistakes(self) -> Iterator[Mistake]:
        """What is wrong, each with its place; after the last one `plan` is whole."""
        where, each, item = "true", None, None
        try:
            if self.mapping.where is not None:
                value = self.expressions.read(self.mapping.where)
                if value.kind.id != "boolean" or value.is_json:
                    kind = "JSON text" if value.is_json else value.kind
                    raise TaxonomyError(f"`{self.mapping.where}` is no boolean expression: its type is {kind}")
                where = f"coalesce(try({value.sql}), false)"
        except TaxonomyError as error:
            yield ("where",), str(error)
        for name, written in (self.mapping.each or {}).items():
            try:
                document = self.expressions.document(self.expressions.read(written))
                each, item = f"try({document})", name
                self.expressions.add(name, Column("item", "JSON"))
                self.expressions.add(f"{name}_number", Column("item_number", "BIGINT"))
            except TaxonomyError as error:
                yield ("each", name), str(error)
        members = []
        for name, written in self.mapping.fields.model_dump(exclude_none=True).items():
            sql = yield from self._member(written, (name,))
            members.append((name, sql))
        used = {name: column for name, column in self.expressions.used.items() if not column.sql.startswith("item")}
        self.plan = Plan(where, each, item, f"unmarked({json_object(members)})", used)

    def _member(self, written: Any, path: tuple[str, ...]) -> Generator[Mistake, None, str]:
        """The mistakes of one member, and SQL of its JSON text."""
        if isinstance(written, dict):
            members = []
            for name, inner in written.items():
                sql = yield from self._member(inner, (*path, str(name)))
                members.append((str(name), sql))
            # An object of which nothing is known says nothing, and the columnar check would send it to pydantic.
            return f"nullif({json_object(members)}, '{{}}')"
        if written is None:
            return "null"
        try:
            return f"try({self._value(self.expressions.read(str(written)), path)})"
        except TaxonomyError as error:
            yield ("fields", *path), str(error)
            return "null"

    def _value(self, value: Value, path: tuple[str, ...]) -> str:
        wanted = wanted_at(path)
        if wanted == "time":
            return self._time(value)
        if wanted == "anything":
            if value.is_json:
                return f"nullif({value.sql}::varchar, 'null')"
            return json_text(value.sql, value.kind, zone="")
        text = self.expressions.text(value)
        if wanted == "object":
            document = self.expressions.document(value)
            whole = f"coalesce(nullif({document}::varchar, 'null'), to_json({text})::varchar)"
            if path == ("properties",):
                return whole
            return f"case when json_type({document}) = 'OBJECT' then {_typed(document, path)} else {whole} end"
        return f"to_json({text})::varchar" if wanted == "text" else f"contract_{wanted}({text})"

    def _time(self, value: Value) -> str:
        kind = value.kind.id
        if kind in INSTANTS:
            made = f"to_json({instant(value.sql, kind)})::varchar"
            # Text that is no time stays in the event, so that the contract names it.
            return made if value.read_from is None else f"coalesce(try({made}), to_json({value.read_from})::varchar)"
        if kind in NAIVE_TIMES or kind == "date":
            if self.mapping.timezone is None:
                raise TaxonomyError("this time has no offset: say in which zone it is, as `timezone: Europe/Madrid`")
            return f"to_json(rfc_3339(timezone('{self.mapping.timezone}', {value.sql}::timestamp)))::varchar"
        if kind in NUMBERS:
            raise TaxonomyError(f"this is a number ({value.kind}): say what it counts by epoch_s, epoch_ms or epoch_us")
        return f"to_json(contract_time({self.expressions.text(value)}))::varchar"


def wanted_at(path: Sequence[str]) -> Wanted:
    """What the contract wants at a path, as `("context", "geo", "latitude")` → number."""
    if len(path) == 1:
        return _FIELDS.get(path[0], "text")
    if path[0] == "identifiers":
        return "text"
    kind = _kind_at(path)
    return "anything" if kind is None else _WANTED.get(kind, "object")


def _kind_at(path: Sequence[str]) -> Any:
    """The class of the contract at a path within `context`; None where the contract says nothing."""
    model: Any = Context if path[0] == "context" else None
    for name in path[1:]:
        field = model.model_fields.get(name) if _is_model(model) else None
        if field is None:
            return None
        # `Annotated[str, ...] | None` → `str`
        kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not type(None)]
        model = get_args(kinds[0])[0] if get_args(kinds[0]) else kinds[0]
    return model


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _typed(document: str, path: tuple[str, ...]) -> str:
    """SQL of a whole object as JSON text: its members get the contract's types, nulls are left out.

    What is no object goes on as it is, for the contract to reject.
    """
    whole, member = f"whole_{len(path)}", f"member_{len(path)}"
    value = f"{member}[2]"
    kind = _kind_at(path)
    cases = "".join(
        f" when {literal(name)} then {_typed_member(value, (*path, name))}"
        for name in (kind.model_fields if _is_model(kind) else ())
    )
    other = _typed_member(value, (*path, ""))
    made = f"case {member}[1]{cases} else {other} end" if cases else other
    pairs = f"list_zip(json_keys({whole}), json_extract({whole}, '$.*'))"
    texts = f"list_transform({pairs}, lambda {member}: to_json({member}[1])::varchar || ':' || {made})"
    kept = f"list_filter({texts}, lambda text: text is not null)"
    json = f"nullif('{{' || array_to_string({kept}, ',') || '}}', '{{}}')"
    return (
        f"list_transform([{document}], lambda {whole}: "
        f"case when json_type({whole}) = 'OBJECT' then {json} else nullif({whole}::varchar, 'null') end)[1]"
    )


def _typed_member(value: str, path: tuple[str, ...]) -> str:
    wanted = wanted_at(path)
    as_it_is = f"nullif({value}::varchar, 'null')"
    if wanted == "anything":
        return as_it_is
    if wanted == "object":
        return _typed(value, path)
    text = f"plain_text({value})"
    typed = f"to_json({text})::varchar" if wanted == "text" else f"contract_{wanted}({text})"
    return f"case when json_type({value}) in ('OBJECT', 'ARRAY') then {as_it_is} else {typed} end"


def _mapping_path(name_or_file: Path) -> Path:
    if name_or_file.suffix in (".yaml", ".yml"):
        return name_or_file
    shipped = ", ".join(sorted(file.stem for file in MAPPINGS.glob("*.yaml")))
    path = MAPPINGS / f"{name_or_file}.yaml"
    if not path.is_file():
        raise TaxonomyError(f"no mapping `{name_or_file}`: name one of {shipped}, or give the path of a YAML file")
    return path
