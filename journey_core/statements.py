"""Which SQL `journey query` runs: what reads the release, however it is written, and nothing that writes."""

from __future__ import annotations

import re

import duckdb

from journey_core.errors import InputError

_EXPLAIN = re.compile(r"explain\b(?P<how>\s+analyze\b|\s*\([^()]*\))?", re.IGNORECASE)
# DuckDB keeps what stands behind a statement: a semicolon, a comment.
_END = re.compile(r"(;|\s|--[^\n]*$)+$")


def readable(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """One statement that reads, as it is to be run. Raises InputError for anything else.

    DuckDB's allowed directories permit writing too, so `copy ... to` a published file must not come through. Only a
    SELECT passes as it is; to DuckDB, `from`, `with`, `values`, `describe`, `summarize` and `show` are SELECTs. Two
    kinds hide what they contain, and are put together anew from a part that was checked: `explain analyze copy ...`
    would copy, and a `pivot` that first looks for its columns is several statements, as `copy (pivot ...) to ...` is.
    """
    statement = _only(connection, sql)
    text = statement.query
    if statement.type == duckdb.StatementType.EXPLAIN:
        found = _EXPLAIN.match(text)
        if found is not None:
            return f"explain{found['how'] or ''} {readable(connection, text[found.end() :])}"
    if statement.type == duckdb.StatementType.MULTI:
        # What begins with FROM is a query, whatever stands in the brackets.
        text = f"from (\n{_END.sub('', text)}\n)"
        statement = _only(connection, text)
    if statement.type not in (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI):
        raise InputError(
            f"a release is read-only, and this is a statement of kind {statement.type.name}: write one `select`"
        )
    return text


def _only(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise InputError(f"the query does not work: {error}") from error
    if len(statements) != 1:
        raise InputError("a release is read-only: write one `select`")
    return statements[0]
