"""Rows on a screen, or as JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipelines.terminal import visible

#: The Gregorian calendar repeats itself every 400 years.
_YEARS, _DAYS = 400, 146_097
_NANOSECONDS = "timestamp[ns"  # pandas alone, where it is installed, has a word for them in Python
_EPOCH = date(1970, 1, 1)
_UNITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # a timestamp's unit → the decimals of its seconds


def rows_as_json(rows: pa.Table) -> str:
    """One array of objects. Times are RFC 3339 in UTC, decimals strings, so that nothing is rounded."""
    return "".join(json_parts(rows))


def json_parts(rows: pa.Table, at_once: int = 10_000) -> Iterator[str]:
    """The text of `rows_as_json`, in parts: rows in Python are ten times as large as in Arrow."""
    named = _named_once(rows)
    for start in range(0, named.num_rows, at_once):
        part = _finite(_rows(named.slice(start, at_once)))
        text = json.dumps(part, default=plain, ensure_ascii=False, indent=1)
        yield ("," if start else "[") + text.removeprefix("[").removesuffix("\n]")
    yield "\n]" if named.num_rows else "[]"


def rows_as_text(rows: pa.Table, most: int = 200) -> str:
    """A table as wide as it needs to be, at most `most` rows; says so where there are more."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for field in _named_once(rows).schema:
        is_number = (
            pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
        )
        table.add_column(visible(field.name), justify="right" if is_number else "left", no_wrap=True)
    for row in _rows(_named_once(rows).slice(0, most)):
        table.add_row(*(_cell(value) for value in row.values()))
    console = Console(width=1_000_000, no_color=True, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    # The box's own empty first and last lines go; a row of nulls is a row.
    lines = [line.rstrip() for line in capture.get().splitlines()[1:-1]]
    if rows.num_rows > most:
        lines.append(f"... {rows.num_rows - most:,} more rows: narrow the query, or use --json")
    return "\n".join(lines)


@dataclass(frozen=True)
class _FarTime:
    """A time that no Python `datetime` holds: year 0 or less, 10000 or more, or with nanoseconds."""

    day: str
    time: str
    zone: str


def _rows(rows: pa.Table) -> list[dict[str, Any]]:
    columns = [_values(column) for column in rows.columns]
    return [dict(zip(rows.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    with suppress(OverflowError, ValueError):
        if _NANOSECONDS not in str(column.type):
            return list(column.to_pylist())
    return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    """The value in Python; times out of Python's calendar as text, at any depth."""
    kind = scalar.type
    with suppress(OverflowError, ValueError):
        if not scalar.is_valid or _NANOSECONDS not in str(kind):
            return scalar.as_py()
    if pa.types.is_struct(kind):
        return {kind.field(place).name: _value(scalar[place]) for place in range(kind.num_fields)}
    if pa.types.is_map(kind):
        return [(_value(entry[0]), _value(entry[1])) for entry in scalar.values]
    if pa.types.is_nested(kind):
        return [_value(item) for item in scalar.values]
    return _far_time(scalar)


def _far_time(scalar: pa.Scalar) -> str | _FarTime:
    kind = scalar.type
    if pa.types.is_timestamp(kind):
        return _far(scalar.value, 64, _UNITS[kind.unit], 86_400, "" if kind.tz is None else "Z")
    if pa.types.is_date32(kind):
        return _far(scalar.value, 32, 0, 1, "")
    return str(scalar.cast(pa.string()).as_py())


def _far(count: int, bits: int, decimals: int, parts_of_a_day: int, zone: str) -> str | _FarTime:
    """`count` parts of a day since 1970, in UTC. DuckDB's infinities are the largest integers of either sign."""
    if abs(count) >= 2 ** (bits - 1) - 1:
        return "infinity" if count > 0 else "-infinity"
    days, rest = divmod(count, parts_of_a_day * 10**decimals)
    cycles, days = divmod(days, _DAYS)
    near = _EPOCH + timedelta(days=days)
    year = near.year + _YEARS * cycles
    day = f"{'-' if year < 0 else ''}{abs(year):04}-{near:%m-%d}"
    if parts_of_a_day == 1:
        return day
    seconds, fraction = divmod(rest, 10**decimals)
    time = f"{timedelta(seconds=seconds)}".zfill(len("00:00:00"))
    return _FarTime(day, f"{time}.{fraction:0{decimals}}" if fraction else time, zone)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) >= 0.001 or not value else f"{value:.3g}"
    if isinstance(value, Decimal):
        whole, _, cents = f"{value:f}".partition(".")
        return f"{whole}.{cents.rstrip('0'):0<2}" if cents else whole
    if isinstance(value, datetime | _FarTime):
        day, time = (
            (f"{value:%Y-%m-%d}", f"{value:%H:%M:%S}") if isinstance(value, datetime) else (value.day, value.time)
        )
        return f"{day} {time.partition('.')[0]}"
    if isinstance(value, list):
        return "[" + ", ".join(_cell(item) or "null" for item in value) + "]"
    return visible(str(value)).expandtabs(1)


def _named_once(rows: pa.Table) -> pa.Table:
    """`select j.*, t.*` repeats names, and a row as a dict would keep the last: the second `a` becomes `a_2`."""
    seen: Counter[str] = Counter()
    names = []
    for name in rows.column_names:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return rows.rename_columns(names)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null. A whole decimal, as DuckDB's sums are, is a number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        return int(value)
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def plain(value: Any) -> str:
    """What JSON has no word for, as text: times in RFC 3339, decimals with all their digits."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, _FarTime):
        return f"{value.day}T{value.time}{value.zone}"
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)
