"""Expressions of a mapping → SQL. Everything in a text file is text, and JSON as it is written: types come from here.

- A column of a CSV file is text. A key of a JSON row is JSON: alone in `properties` it comes out letter by letter; in
  any other expression it is its text.
- Text is a number where it is added, multiplied or compared with one, a time where it is cast to one, and null where it
  does not fit. Nothing else is cast.
- A time without an offset is one only in the mapping's time zone. `01/02/2026` is one only by the mapping's date order.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
from sqlglot import exp

from journey_core.errors import TaxonomyError
from journey_core.events import RFC_3339
from journey_core.expressions import KEEP_TRIES, allowed_tree, time_format
from journey_core.json_text import INSTANTS, NAIVE_TIMES, NUMBERS, json_text, literal, microseconds

# DuckDB reads 1026454427.1112504123 as a double and writes another number. So numbers of JSON travel as texts that
# begin with this mark, which no file can hold, and become numbers again in the finished event.
MARK = f"\ufdd0{secrets.token_hex(8)}:"
_DATES = {
    "ymd": None,
    "dmy": r"\3-\2-\1",
    "mdy": r"\3-\1-\2",
}
_DAY = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
_CLOCK = r"[T ]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
_OFFSET = r"\s*(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)"
# DuckDB takes `-> 'a.b'` for one key, sqlglot for two.
_DOTTED = re.compile(r"->>?\s*('[^'$/][^']*\.[^']*')")
_FUNCTIONS = {"lookup": 2, "epoch_s": 1, "epoch_us": 1, "epoch_ns": 1}
_MORE_NODES = (exp.Anonymous, exp.UnixToTime, exp.SplitPart, exp.RegexpExtract, exp.RegexpReplace)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Abs, exp.Round, exp.Floor, exp.Ceil)
_COMPARISONS = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.In, exp.Between,
)  # fmt: skip
_JOINING = (exp.DPipe, exp.Concat)
_TIMES = (*INSTANTS, *NAIVE_TIMES)


@dataclass(frozen=True)
class Column:
    """A column of the file: its name in SQL, and DuckDB's type. `JSON` is a key of a JSON row."""

    sql: str
    kind: str


@dataclass(frozen=True)
class Value:
    """An expression in SQL, what DuckDB says of its type, and whether it is JSON as the file has it.

    `read_from` is SQL of the text that a time was read from by `epoch_s`, `strptime` and their like.
    """

    sql: str
    kind: Any
    is_json: bool
    read_from: str | None = None


class Expressions:
    """Reads the expressions of one mapping over one file's columns."""

    def __init__(
        self, columns: Mapping[str, Column], timezone: str | None, date_order: str, twice: Collection[str] = ()
    ) -> None:
        self.columns = dict(columns)
        self._twice = twice
        self.timezone = timezone
        self.used: dict[str, Column] = {}
        self._folded: dict[str, list[str]] = {}
        for name in columns:
            self._folded.setdefault(name.casefold(), []).append(name)
        self.connection = duckdb.connect()
        define(self.connection, timezone, date_order)

    def add(self, name: str, column: Column) -> None:
        """Let expressions read one more name, before those of the file."""
        self.columns[name] = column
        self._folded[name.casefold()] = [name]

    def read(self, written: str) -> Value:
        """Check one expression. Raises TaxonomyError with what is wrong, DuckDB's whole reason included."""
        if (dotted := _DOTTED.search(written)) is not None:
            raise TaxonomyError(f"`{written}`: is {dotted[1]} one key or two? Write '$.\"a.b\"' or '$.a.b'")
        tree = self._rewritten(allowed_tree(written, _MORE_NODES), written)
        sql = f"({tree.sql(dialect='duckdb')})"
        return Value(sql, self._kind(sql, written), _is_json(tree), _read_from(tree))

    def text(self, value: Value) -> str:
        """SQL of a value as text."""
        kind = value.kind.id
        if value.is_json:
            return f"plain_text({value.sql})"
        if kind in ("float", "double"):
            return f"number_text({value.sql})"
        if kind in ("list", "array", "struct", "map"):
            return json_text(value.sql, value.kind, zone="")
        if kind in ("blob", *_TIMES):
            return f"json_extract_string({json_text(value.sql, value.kind, zone='')}, '$')"
        return value.sql if kind == "varchar" else f"cast({value.sql} as varchar)"

    def document(self, value: Value) -> str:
        """SQL of a value as JSON that can be looked into; null where it is none."""
        if value.is_json:
            return f"opened({value.sql})"
        if value.kind.id == "varchar":
            return f"document({value.sql})"
        return f"document({json_text(value.sql, value.kind, zone='')})"

    def _rewritten(self, node: exp.Expr, written: str) -> exp.Expr:
        if isinstance(node, (exp.Column, exp.Dot)):
            return self._column([part.name for part in node.parts], written)
        if isinstance(node, (exp.DataType, exp.JSONPath, exp.Literal, exp.Interval)):
            return node
        for name, child in list(node.args.items()):
            if isinstance(child, list):
                node.set(name, [self._rewritten(c, written) if isinstance(c, exp.Expr) else c for c in child])
            elif isinstance(child, exp.Expr):
                node.set(name, self._rewritten(child, written))
        for kinds, rewrite in self._rewrites:
            if isinstance(node, kinds):
                return rewrite(node, written)
        return node

    @property
    def _rewrites(self) -> list[tuple[Any, Callable[[Any, str], exp.Expr]]]:
        """What is done with a node whose operands are rewritten, by its class: the first that fits."""
        return [
            (
                exp.Paren,
                lambda node, _: _sql(
                    f"({node.this.sql('duckdb')})", is_json=_is_json(node.this), read_from=_read_from(node.this)
                ),
            ),
            ((exp.JSONExtract, exp.JSONExtractScalar), self._extract),
            (exp.Anonymous, self._function),
            (exp.UnixToTime, self._epoch),
            (exp.Cast, self._cast),
            (exp.StrToTime, self._parsed_time),
            (exp.Expr, self._plain_operands),
        ]

    def _epoch(self, node: exp.UnixToTime, written: str) -> exp.Expr:
        scale = node.args.get("scale")
        return self._epoch_of(node.this, -int(scale.name if scale else 0), written)

    def _epoch_of(self, node: exp.Expr, digits: int, written: str) -> exp.Expr:
        text = self._as_text(node, written)
        return _sql(f"epoch_time({text}, {digits})", read_from=text)

    def _parsed_time(self, node: exp.StrToTime, written: str) -> exp.Expr:
        text = self._as_text(node.this, written)
        parsed = f"try_strptime({text}, {literal(time_format(node))})"
        return _sql(self._in_zone(parsed, self._kind(parsed, written).id), read_from=text)

    def _column(self, path: list[str], written: str) -> exp.Expr:
        for length in range(len(path), 0, -1):
            name = ".".join(path[:length])
            found = [name] if name in self.columns else self._folded.get(name.casefold(), [])
            if len(found) > 1:
                raise TaxonomyError(f"column `{name}`: the file has {', '.join(found)}; quote the one you mean")
            if found:
                column = self.used[found[0]] = self.columns[found[0]]
                return self._inside(_sql(column.sql, is_json=column.kind == "JSON"), path[length:], written)
        if (name := ".".join(path)) in self._twice:
            raise TaxonomyError(
                f"column `{name}` stands in the header more than once: give each a name of its own, in the file or by "
                "`reader: {columns: [...]}` for a file without its header"
            )
        known = ", ".join(sorted(self.columns))
        raise TaxonomyError(f"unknown column `{'.'.join(path)}`; known: {known}")

    def _inside(self, node: exp.Expr, path: list[str], written: str) -> exp.Expr:
        """`properties.revenue`: a member of a struct, a map or a JSON object."""
        for place, name in enumerate(path):
            sql = node.sql("duckdb")
            kind = self._kind(sql, written)
            if kind.id == "struct":
                node = _sql(f"struct_extract({sql}, {literal(name)})")
            elif kind.id == "map":
                node = _sql(f"map_extract_value({sql}, {literal(name)})")
            else:
                pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path[place:])
                return _sql(f"json_extract({self._document(node, written)}, {literal(pointer)})", is_json=True)
        sql = node.sql("duckdb")
        return _sql(self._in_zone(sql, self._kind(sql, written).id)) if not _is_json(node) else node

    def _extract(self, node: exp.Expr, written: str) -> exp.Expr:
        path = node.expression
        if not isinstance(path, exp.JSONPath):
            raise TaxonomyError(f"`{written}`: the path of `->` is a constant, as '$.key'")
        extracted = f"json_extract({self._document(node.this, written)}, {path.sql('duckdb')})"
        if isinstance(node, exp.JSONExtractScalar):
            return _sql(f"plain_text({extracted})")
        return _sql(extracted, is_json=True)

    def _function(self, node: exp.Anonymous, written: str) -> exp.Expr:
        name = node.name.lower()
        if len(node.expressions) != _FUNCTIONS.get(name):
            raise TaxonomyError(
                f"`{node.name}` is not allowed here, or takes another number of values; of functions beyond SQL's "
                f"there are {', '.join(_FUNCTIONS)}, epoch_ms"
            )
        first = node.expressions[0]
        if name == "lookup":
            key = self._as_text(node.expressions[1], written)
            return _sql(f"looked_up({self._document(first, written)}, {key})", is_json=True)
        digits = {"epoch_s": 0, "epoch_us": -6, "epoch_ns": -9}[name]
        return self._epoch_of(first, digits, written)

    def _plain_operands(self, node: exp.Expr, written: str) -> exp.Expr:
        """Give each operand the type that the others ask for: DuckDB would refuse, or cast where no `try` reaches."""
        for child in list(node.iter_expressions()):
            if _is_json(child):
                _become(child, f"plain_text({child.sql('duckdb')})")
        if not isinstance(node, (*_ARITHMETIC, *_COMPARISONS, *_JOINING)):
            return node
        typed = [(child, self._kind(child.sql("duckdb"), written).id) for child in node.iter_expressions()]
        kinds = {kind for _, kind in typed}
        for child, kind in typed:
            sql = child.sql("duckdb")
            if isinstance(node, _JOINING):
                if kind in ("float", "double"):
                    _become(child, f"number_text({sql})")
            elif kind != "varchar":
                continue
            elif kinds & {*_TIMES, "interval"}:
                _become(child, f"instant({sql})")
            elif "date" in kinds:
                _become(child, f"calendar_day({sql})")
            elif kinds & set(NUMBERS) or isinstance(node, _ARITHMETIC):
                _become(child, f"number({sql})")
            elif "boolean" in kinds:
                _become(child, f"try_cast({sql} as boolean)")
        return node

    def _cast(self, node: exp.Cast, written: str) -> exp.Expr:
        wanted = node.to.sql("duckdb").upper()
        if wanted == "JSON":
            return _sql(self._document(node.this, written), is_json=True)
        text = self._as_text(node.this, written)
        if wanted in ("TEXT", "VARCHAR"):
            return _sql(text)
        sql = text if _is_json(node.this) else node.this.sql("duckdb")
        kind = self._kind(sql, written).id
        if wanted.startswith(("TIMESTAMP", "DATETIME")):
            return _sql(self._cast_to_time(sql, kind, isinstance(node.this, exp.Literal), written))
        if kind == "varchar" and wanted == "DATE":
            return _sql(f"calendar_day({sql})")
        if kind == "varchar" and wanted.endswith("INT"):
            sql = f"whole_number({sql})"  # DuckDB would read '10.75' as 11
        elif kind == "varchar" and wanted.startswith(("DECIMAL", "NUMERIC", "DOUBLE", "FLOAT", "REAL")):
            sql = f"number_only({sql})"
        return _sql(f"try_cast({sql} as {wanted})")

    def _cast_to_time(self, sql: str, kind: str, is_literal: bool, written: str) -> str:
        if is_literal and self._is_null(f"instant({sql})"):
            raise TaxonomyError(f"`{written}`: {sql} is no time with an offset: write one, or a `timezone:`")
        if kind == "varchar":
            return f"instant({sql})"
        return sql if kind in _TIMES else self._in_zone(f"try_cast({sql} as timestamp)", "timestamp")

    def _in_zone(self, sql: str, kind: str) -> str:
        """A naive time as an instant, where the mapping says in which zone it is."""
        if self.timezone is None or kind not in NAIVE_TIMES:
            return sql
        return f"timezone({literal(self.timezone)}, {microseconds(sql, kind)})"

    def _as_text(self, node: exp.Expr, written: str) -> str:
        sql = node.sql("duckdb")
        return self.text(Value(sql, self._kind(sql, written), _is_json(node)))

    def _document(self, node: exp.Expr, written: str) -> str:
        sql = node.sql("duckdb")
        return self.document(Value(sql, self._kind(sql, written), _is_json(node)))

    def _kind(self, sql: str, written: str) -> Any:
        row = ", ".join(dict.fromkeys(f"null::{column.kind} as {column.sql}" for column in self.columns.values()))
        try:
            return self.connection.sql(f"select {sql} from (select {row or 'null'})").types[0]
        except duckdb.Error as error:
            raise TaxonomyError(f"`{written}` does not work: {error}") from error

    def _is_null(self, sql: str) -> bool:
        return bool(self.connection.execute(f"select ({sql}) is null").fetchall()[0][0])


def define(connection: duckdb.DuckDBPyConnection, timezone: str | None, date_order: str) -> None:
    """Create the macros that the expressions' SQL calls."""
    connection.execute("set timezone = 'UTC'")
    connection.execute(KEEP_TRIES)
    number, mark = r"-?[0-9][0-9.eE+-]*", literal(MARK)
    order = _DATES[date_order]
    day = "trim(x)"
    if order is not None:
        day = rf"regexp_replace(trim(x), '^(\d{{1,2}})[-/.](\d{{1,2}})[-/.](\d{{4}})', '{order}')"
    naive = f"timezone({literal(timezone)}, try_cast(iso as timestamp))" if timezone else "null::timestamptz"
    macros = {
        "marked(x)": rf"""regexp_replace(
            replace(regexp_replace(x, '("(?:[^"\\]|\\.)*")|({number})', '\1{MARK}\2', 'g'), '"' || {mark}, '"'),
            {literal(MARK + "(" + number + ")")}, '"{MARK}\1"', 'g')""",
        # Both for whole texts and for what stands in them.
        "unmarked(x)": rf"""case when contains(x, {mark})
            then regexp_replace(x, '"{MARK}([^"]*)"', '\1', 'g') else x end""",
        "document(x)": "case when json_valid(x) then marked(x)::json end",
        # A JSON string that holds JSON is opened, too: many exports write objects so.
        "opened(x)": "case when json_type(x) = 'VARCHAR' then document(json_extract_string(x, '$')) else x end",
        "plain_text(x)": f"""case when json_type(x) = 'VARCHAR'
            then replace(json_extract_string(x, '$'), {mark}, '') else unmarked(nullif(x::varchar, 'null')) end""",
        # DuckDB would read '1_000' as 1000.
        "number_only(x)": "case when not contains(x, '_') then x end",
        "number(x)": """case when isfinite(try_cast(number_only(x) as double))
            then try_cast(number_only(x) as double) end""",
        "number_text(x)": "case when x = trunc(x) and abs(x) < 9e15 then x::bigint::varchar else x::varchar end",
        "written_day(x)": day,
        "time_of(iso)": rf"""case
            when regexp_full_match(iso, '{_DAY}{_CLOCK}{_OFFSET}', 'i')
                then try_cast(regexp_replace(replace(iso, ',', '.'), '\s*(Z|UTC|GMT)$', '+00', 'i') as timestamptz)
            when regexp_full_match(replace(iso, ',', '.'), '{_DAY}({_CLOCK})?', 'i') then {naive} end""",
        "instant(x)": "time_of(written_day(x))",
        "calendar_day(x)": rf"""try_cast(
            nullif(regexp_extract(written_day(x), '^({_DAY})([T ].*)?$', 1), '') as date)""",
        "rfc_3339(x)": "strftime(x, '%Y-%m-%dT%H:%M:%S.%fZ')",
        # As text: a double has no room for the digits of an instant.
        "epoch_time(x, digits)": """make_timestamptz(
            floor(try_cast(number_only(x) as decimal(38, 9)) * power(10, 6 + digits)::decimal(10, 3))::bigint)""",
        "looked_up(x, name)": """first_of(json_extract(list_extract(list_filter(
            json_extract(x, '$[*]'), lambda pair: plain_text(json_extract(pair, '/key')) = name), 1), '/value'))""",
        # GA4 writes each value under its type.
        "first_of(x)": """case when json_type(x) = 'OBJECT' then coalesce(
            nullif(json_extract(x, '/string_value')::varchar, 'null'),
            nullif(json_extract(x, '/int_value')::varchar, 'null'),
            nullif(json_extract(x, '/float_value')::varchar, 'null'),
            nullif(json_extract(x, '/double_value')::varchar, 'null'))::json else x end""",
        "contract_time(x)": f"""case when regexp_full_match(x, {literal(RFC_3339.pattern)}) then x
            else coalesce(try(rfc_3339(instant(x))), x) end""",
        "contract_number(x)": r"""case when regexp_full_match(x, '-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?') then x
            else coalesce(number(x)::varchar, to_json(x)::varchar) end""",
        "whole_number(x)": r"regexp_extract(nullif(trim(x), ''), '^([+-]?\d+)(\.0*)?$', 1)",
        "contract_integer(x)": "coalesce(try_cast(whole_number(x) as bigint)::varchar, to_json(x)::varchar)",
        "contract_boolean(x)": "coalesce(try_cast(trim(x) as boolean)::varchar, to_json(x)::varchar)",
    }
    # A macro reads those before it.
    order_of = sorted(macros, key=lambda name: name.startswith("looked_up"))
    for name in order_of:
        connection.execute(f"create or replace temp macro {name} as {macros[name]}")


def _sql(text: str, *, is_json: bool = False, read_from: str | None = None) -> exp.Expr:
    """Finished SQL as a node."""
    node = exp.Var(this=text)
    node.meta.update(is_json=is_json, read_from=read_from)
    return node


def _is_json(node: exp.Expr) -> bool:
    return bool(node.meta.get("is_json"))


def _read_from(node: exp.Expr) -> str | None:
    text: str | None = node.meta.get("read_from")
    return text


def _become(node: exp.Expr, text: str) -> None:
    node.replace(_sql(text))
