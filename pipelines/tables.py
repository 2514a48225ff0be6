"""Rows on a screen, or as JSON."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def rows_as_json(rows: pa.Table) -> str:
    """One array of objects. Times are RFC 3339 in UTC, decimals strings, so that nothing is rounded."""
    return json.dumps(rows.to_pylist(), default=_plain, ensure_ascii=False, indent=1)


def rows_as_text(rows: pa.Table, most: int = 200) -> str:
    """A table as wide as it needs to be, at most `most` rows; says so where there are more."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for field in rows.schema:
        is_number = (
            pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
        )
        table.add_column(field.name, justify="right" if is_number else "left", no_wrap=True)
    for row in rows.slice(0, most).to_pylist():
        table.add_row(*(_cell(value) for value in row.values()))
    console = Console(width=10_000, no_color=True, markup=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines() if line.strip()]
    if rows.num_rows > most:
        lines.append(f"... {rows.num_rows - most:,} more rows: narrow the query, or use --json")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, Decimal):
        whole, _, cents = f"{value:f}".partition(".")
        return f"{whole}.{cents.rstrip('0'):0<2}" if cents else whole
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return "[" + ", ".join(_cell(item) or "null" for item in value) + "]"
    return str(value)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)
