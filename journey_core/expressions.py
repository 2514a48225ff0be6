"""SQL that a user writes in YAML: one side-effect-free scalar expression over known columns, or a clear refusal.

sqlglot reads it, an allow-list of node types bounds it, DuckDB says its type by binding it to an empty row, and a trial
on one row of nulls shows whether DuckDB can plan it at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from journey_core.errors import TaxonomyError

_ALLOWED_NODES = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Tuple, exp.Neg,
    exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between, exp.Is,
    exp.NullSafeEQ, exp.NullSafeNEQ, exp.Like, exp.ILike, exp.Escape, exp.RegexpLike, exp.StartsWith, exp.EndsWith,
    exp.Contains, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Cast, exp.TryCast, exp.DataType, exp.Interval,
    exp.Var, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.DPipe, exp.Concat, exp.Lower, exp.Upper, exp.Trim,
    exp.Length, exp.Substring, exp.Replace, exp.Round, exp.Abs, exp.Floor, exp.Ceil, exp.JSONExtract,
    exp.JSONExtractScalar, exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey, exp.JSONPathSubscript, exp.StrToTime,
    exp.MD5, exp.DataTypeParam, exp.Dot,
)  # fmt: skip
#: Arguments that only the author of an expression may choose, by node. A pattern from an event could take seconds, a
#: replacement from an event could make a text of gigabytes.
_CONSTANT = {
    exp.RegexpLike: ("expression",),
    exp.RegexpExtract: ("expression",),
    exp.RegexpReplace: ("expression", "replacement"),
    exp.Replace: ("expression", "replacement"),
}
_LONGEST = 10_000
#: One bad value must not end a build, so DuckDB must not move a cast that stands twice out of its `try`.
KEEP_TRIES = "set disabled_optimizers = 'common_subexpressions'"


def parse_expression(text: str, columns: Mapping[str, str], *, boolean: bool = False) -> str:
    """Check one expression and return it in DuckDB's dialect. `columns` is name → DuckDB type.

    Casts become `try_cast`: a value that does not fit is null, never the end of a build. Raises TaxonomyError with
    what is wrong and what is allowed.
    """
    try:
        tree = allowed_tree(text)
        for node in tree.find_all(exp.Column):
            if node.name not in columns or node.table:
                raise TaxonomyError(f"unknown column `{shown(node.sql())}`; known: {', '.join(sorted(columns))}")
        tree = tree.transform(_cast_softly).transform(partial(_compare_as_text, columns=columns))
        sql = tree.sql(dialect="duckdb")
        found = type_of(sql, columns)
    except RecursionError as error:
        raise _too_deep(text) from error
    if boolean and found != "BOOLEAN":
        raise TaxonomyError(f"`{shown(text)}` is no boolean expression: its type is {found}")
    _try_out(sql, tuple(columns.items()))
    return sql


def allowed_tree(text: str, more_nodes: tuple[type[exp.Expr], ...] = ()) -> exp.Expr:
    """One expression as sqlglot reads it, of allowed nodes and `more_nodes` alone. Raises TaxonomyError."""
    if len(text) > _LONGEST:
        raise TaxonomyError(f"`{shown(text)}` has {len(text):,} characters: an expression has at most {_LONGEST:,}")
    try:
        # sqlglot raises ValueError on JSON paths that its DuckDB dialect cannot write.
        tree = sqlglot.parse_one(text, dialect="duckdb")
    except RecursionError as error:
        raise _too_deep(text) from error
    except (SqlglotError, ValueError) as error:
        said = re.sub(r"\x1b\[\d+m", "", str(error))  # sqlglot underlines for a terminal
        cut = "" if text.count("(") == text.count(")") else " (within { } YAML ends it at a comma: put it in quotes)"
        raise TaxonomyError(f"`{shown(text)}` is no SQL expression{cut}: {said}") from error
    for node in tree.walk():
        if not isinstance(node, (*_ALLOWED_NODES, *more_nodes)):
            if node.key.startswith("jsonpath"):
                raise TaxonomyError(
                    f"`{shown(text)}`: a path names keys and places alone, as '$.items[0].id' ({node.key})"
                )
            name = shown(node.sql(dialect="duckdb"))
            raise TaxonomyError(f"`{name}` ({node.key}) is not allowed here: write one scalar expression over columns")
        _refuse_misread(node)
    return tree


def _refuse_misread(node: exp.Expr) -> None:
    """Refuse what would mean something else than it seems to, or cost an event's author's choice of time."""
    if isinstance(node, exp.Escape) and len(node.expression.name) != 1:
        raise TaxonomyError(f"`{shown(node.sql(dialect='duckdb'))}`: the escape is one character")
    if isinstance(node, exp.Escape) and isinstance(pattern := node.this.expression, exp.Literal):
        escape = re.escape(node.expression.name)
        if re.fullmatch(rf"(?:{escape}.|[^{escape}])*", pattern.name, re.DOTALL) is None:
            raise TaxonomyError(f"`{shown(node.sql(dialect='duckdb'))}`: a pattern never ends with its escape")
    if (day := _unquoted_day(node)) is not None:
        raise TaxonomyError(f"`{day}` without quotes is a subtraction: write date '{day}'")
    for kind, names in _CONSTANT.items():
        chosen = [node.args.get(name) for name in names] if isinstance(node, kind) else []
        if any(value is not None and value.find(exp.Column, exp.Anonymous) for value in chosen):
            raise TaxonomyError(
                f"`{shown(node.sql(dialect='duckdb'))}`: its pattern and its replacement are constants, as 'a|b'"
            )


def _unquoted_day(node: exp.Expr) -> str | None:
    """`2026-01-31` where it stands as numbers that are subtracted, as in `occurred_at > 2026-01-31`."""
    if not isinstance(node, exp.Sub) or not isinstance(node.this, exp.Sub):
        return None
    parts = [node.this.this, node.this.expression, node.expression]
    if not all(isinstance(part, exp.Literal) and not part.is_string for part in parts):
        return None
    day = "-".join(part.name for part in parts)
    return day if re.fullmatch(r"\d{4}-\d{2}-\d{2}", day) else None


def shown(text: str) -> str:
    """A text as a message shows it: its beginning, where it is long."""
    return text if len(text) <= 300 else f"{text[:300]}..."


def _too_deep(text: str) -> TaxonomyError:
    return TaxonomyError(f"`{shown(text)}` is nested too deeply: write it with fewer brackets, as `in (...)`")


def _cast_softly(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.StrToTime):
        return exp.Anonymous(this="try_strptime", expressions=[node.this, exp.Literal.string(time_format(node))])
    return exp.TryCast(**node.args) if type(node) is exp.Cast else node


def _compare_as_text(node: exp.Expression, columns: Mapping[str, str]) -> exp.Expression:
    """`error_code in (500, 501)` asks for two texts. DuckDB would cast the column, where no `try` can reach."""
    if isinstance(node, exp.In) and node.expressions and type_of(node.this.sql("duckdb"), columns) == "VARCHAR":
        node.set("expressions", [exp.cast(item.copy(), "varchar") for item in node.expressions])
    return node


def time_format(node: exp.Expression) -> str:
    """The format of a `strptime`, in DuckDB's signs."""
    return str(node.args["format"].name)


def type_of(sql: str, columns: Mapping[str, str]) -> str:
    """The DuckDB type of an expression over `columns`, as `BOOLEAN`."""
    return _type_of(sql, tuple(columns.items()))


def quote(name: str) -> str:
    """A column's name as SQL writes it, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def as_json(sql: str, kind: str) -> str:
    """SQL of a value as JSON holds it: a time as RFC 3339 in UTC, a number only where it is finite.

    JSON has no NaN, and pandas writes it for what is missing.
    """
    if kind in ("DOUBLE", "FLOAT"):
        return f"case when isfinite({sql}) then {sql} end"
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"strftime({sql}::timestamptz, '%Y-%m-%dT%H:%M:%S.%fZ')"
    return sql


@cache
def _type_of(sql: str, columns: tuple[tuple[str, str], ...]) -> str:
    row = ", ".join(f"null::{kind} as {quote(name)}" for name, kind in columns)
    try:
        described: list[Any] = ask(f"describe select {sql} as value from (select {row})")
    except duckdb.Error as error:
        raise TaxonomyError(f"`{shown(sql)}` does not work: {error}") from error
    return str(described[0][1])


@cache
def _try_out(sql: str, columns: tuple[tuple[str, str], ...]) -> None:
    """Plan and run an expression as the models do. Raises TaxonomyError where that fails whatever an event holds.

    `try` protects the values of rows. Constants are cast while DuckDB plans: `1e308 in (country, 'x')` fails there.
    """
    try:
        with _empty().cursor() as connection:
            for value in (f"try(cast({sql} as varchar))", f"case when try(cast({sql} as boolean)) then 1 end"):
                if value.startswith("case") and _type_of(sql, columns) != "BOOLEAN":
                    continue
                connection.execute(f"select {value} as value from {_nulls(columns)} where value is not null").fetchall()
    except duckdb.Error as error:
        said = str(error).splitlines()[0]
        raise TaxonomyError(f"`{shown(sql)}` works for no event: {said}. Compare values of one type") from error


@cache
def _nulls(columns: tuple[tuple[str, str], ...]) -> str:
    """A table of one row of nulls. A subquery would not do: DuckDB would put the nulls in the place of its columns."""
    name = f"nulls_{_nulls.cache_info().currsize}"
    row = ", ".join(f"null::{kind} as {quote(name)}" for name, kind in columns)
    with _empty().cursor() as connection:
        connection.execute(f"create table {name} as select {row}")
    return name


def ask(question: str, *values: str) -> list[Any]:
    """The rows of a question about SQL itself, which needs no tables."""
    with _empty().cursor() as connection:
        return connection.execute(question, values).fetchall()


@cache
def _empty() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()  # to open one takes 30 ms, and a taxonomy asks as many times
    connection.execute(KEEP_TRIES)
    return connection
