"""Rows on a screen, or as JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def rows_as_json(rows: pa.Table) -> str:
    """One array of objects. Times are RFC 3339 in UTC, decimals strings, so that nothing is rounded."""
    return json.dumps(_finite(_named_once(rows).to_pylist()), default=plain, ensure_ascii=False, indent=1)


def rows_as_text(rows: pa.Table, most: int = 200) -> str:
    """A table as wide as it needs to be, at most `most` rows; says so where there are more."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for field in _named_once(rows).schema:
        is_number = (
            pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
        )
        table.add_column(field.name, justify="right" if is_number else "left", no_wrap=True)
    for row in _named_once(rows).slice(0, most).to_pylist():
        table.add_row(*(_cell(value) for value in row.values()))
    console = Console(width=1_000_000, no_color=True, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    # The box's own empty first and last lines go; a row of nulls is a row.
    lines = [line.rstrip() for line in capture.get().splitlines()[1:-1]]
    if rows.num_rows > most:
        lines.append(f"... {rows.num_rows - most:,} more rows: narrow the query, or use --json")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) >= 0.001 or not value else f"{value:.3g}"
    if isinstance(value, Decimal):
        whole, _, cents = f"{value:f}".partition(".")
        return f"{whole}.{cents.rstrip('0'):0<2}" if cents else whole
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return "[" + ", ".join(_cell(item) or "null" for item in value) + "]"
    return str(value).expandtabs(1)


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
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)
