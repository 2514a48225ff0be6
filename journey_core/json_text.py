"""SQL that writes a value of any DuckDB type as JSON text, digit by digit.

DuckDB's own `to_json` writes NaN, which JSON does not have, and rounds nanoseconds. An absent value is null: it leaves
its field out, as a producer does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

INSTANTS = ("timestamp with time zone", "timestamptz_ns")
NAIVE_TIMES = ("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns")
_NUMBERS = ("tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint")
NUMBERS = (*_NUMBERS, "uhugeint", "decimal", "float", "double")


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def json_object(members: Iterable[tuple[str, str]]) -> str:
    """SQL of one JSON object: name and SQL of its JSON text, which may be null and then is left out."""
    pairs = ", ".join(f"{literal(json.dumps(name, ensure_ascii=False) + ':')} || ({sql})" for name, sql in members)
    return f"('{{' || concat_ws(',', {pairs}) || '}}')" if pairs else "'{}'"


def instant(sql: str, kind: str) -> str:
    """SQL of a time as RFC 3339 in UTC: nanoseconds are cut, as the contract cuts them. A naive time counts as UTC."""
    return f"strftime({microseconds(sql, kind)}, '%Y-%m-%dT%H:%M:%S.%fZ')"


def microseconds(sql: str, kind: str) -> str:
    """SQL of a time without its nanoseconds."""
    if not kind.endswith("_ns"):
        return f"({sql})"
    made = "make_timestamptz" if kind == "timestamptz_ns" else "make_timestamp"
    # `//` cuts towards 1970, time is cut towards the past.
    return f"{made}((epoch_ns({sql}) - ((epoch_ns({sql}) % 1000) + 1000) % 1000) // 1000)"


def json_text(sql: str, kind: Any, *, zone: str = "Z", depth: int = 0) -> str:
    """SQL of `sql`, a value of DuckDB's type `kind`, as JSON text. `zone` is written behind a naive time."""
    inner = f"item_{depth}"

    def member(sql: str, kind: Any) -> str:
        return json_text(sql, kind, zone=zone, depth=depth + 1)

    if kind.id == "struct":
        fields = [(name, member(f"struct_extract({sql}, {literal(name)})", child)) for name, child in kind.children]
        return f"case when {sql} is not null then {json_object(fields)} end"
    if kind.id in ("list", "array"):
        made = member(inner, kind.children[0][1])
        return f"'[' || array_to_string(list_transform({sql}, lambda {inner}: coalesce({made}, 'null')), ',') || ']'"
    if kind.id == "map":
        made = member(f"{inner}.value", kind.children[1][1])
        pair = f"to_json(cast({inner}.key as varchar))::varchar || ':' || ({made})"
        pairs = f"list_transform(map_entries({sql}), lambda {inner}: {pair})"
        return f"'{{' || array_to_string(list_filter({pairs}, lambda pair: pair is not null), ',') || '}}'"
    return _leaf(sql, kind, zone)


def _leaf(sql: str, kind: Any, zone: str) -> str:
    if str(kind) == "JSON":
        return f"nullif(cast({sql} as varchar), 'null')"
    if kind.id in ("float", "double"):
        return f"case when isfinite({sql}) then cast({sql} as varchar) end"
    if kind.id == "boolean" or kind.id in NUMBERS:
        return f"cast({sql} as varchar)"
    if kind.id in INSTANTS:
        text = instant(sql, kind.id)
    elif kind.id in NAIVE_TIMES:
        text = f"strftime({microseconds(sql, kind.id)}, '%Y-%m-%dT%H:%M:%S.%f{zone}')"
    elif kind.id == "blob":
        # Some writers do not say that their bytes are text.
        text = f"coalesce(try(decode({sql})), base64({sql}))"
    else:
        text = f"cast({sql} as varchar)"
    return f"to_json({text})::varchar"
