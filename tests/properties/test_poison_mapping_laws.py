"""One bad row is one rejected row: random mappings over poisoned logs never end `journey produce`."""

from __future__ import annotations

import csv
import json
import secrets
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from journey_core.errors import TaxonomyError
from journey_core.logs import read_log
from journey_core.mapping_sql import Column, Expressions
from tests.predicates import Grammar, as_lines, poisoned_rows

#: Columns of the log → what the grammar takes them for. In a CSV file all of them are texts, in JSON all are JSON.
COLUMNS = {
    "error_code": "text", "title": "text", "amount": "number", "count": "number", "at": "time", "is_open": "boolean",
    "properties": "json", "context": "json",
}  # fmt: skip
_EACH, _ROWS = 30, 40


def typed(rows: list[dict[str, Any]], random: Random) -> pa.Table:
    """The same rows where the file has types, with their limits."""
    times = [-62_135_596_800_000_000, 253_402_300_799_999_999, 0, None]  # years 1 and 9999
    texts = [None if value is None else str(value) for value in (row["error_code"] for row in rows)]
    kinds = {"text": pa.string(), "json": pa.string(), "number": pa.float64(), "boolean": pa.bool_()}
    pick = {"number": [0.0, -1.5, 1e308, float("nan"), float("inf"), None], "boolean": [True, False, None]}
    columns = {
        name: pa.array([random.choice(times) for _ in rows], pa.timestamp("us"))
        if kind == "time"
        else pa.array([random.choice(pick.get(kind, texts)) for _ in rows], kinds[kind])
        for name, kind in COLUMNS.items()
    }
    return pa.table(columns)


def write(rows: list[dict[str, Any]], path: Path, random: Random) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(typed(rows, random), path)
    elif path.suffix == ".jsonl":
        path.write_text(as_lines(rows))
    else:
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            table.writerows(rows)
    return path


def mapping_of(expressions: list[str], where: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "event_id": "'e' || row_number", "event_type": "'seen'", "channel": "'web'",
        "occurred_at": "'2026-01-01T00:00:00Z'", "identifiers": {"customer_id": "'ann'"},
        "context": {"page": {"url": "'https://shop.example/'"}},
        "properties": {f"p{place}": text for place, text in enumerate(expressions)},
    }  # fmt: skip
    return {"mapping": "mine", "timezone": "Europe/Madrid", "where": where, "fields": fields}


def taken(random: Random, kinds: dict[str, Column], count: int) -> tuple[list[str], str]:
    """Random expressions that a mapping takes, and a condition; the others are refused, never with a traceback."""
    grammar = Grammar(random, COLUMNS, for_mapping=True)
    expressions = Expressions(kinds, "Europe/Madrid", "ymd")

    def kind_of(text: str) -> str | None:
        try:
            value = expressions.read(text)
        except TaxonomyError:
            return None
        return "json" if value.is_json else str(value.kind)

    found: list[str] = []
    while len(found) < count:
        text = grammar.value(random.choice([1, 2, 3]))
        if kind_of(text) is not None:
            found.append(text)
    where = grammar.boolean(2)
    while kind_of(where) != "BOOLEAN":
        where = grammar.boolean(2)
    return found, f"coalesce({where}, true) or true"


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_bad_row_is_one_rejected_row_whatever_its_mapping_asks(tmp_path, pytestconfig, ending):
    is_full = pytestconfig.getoption("full")
    for seed in [secrets.randbits(32) for _ in range(56)] if is_full else [1]:
        random = Random(seed)
        log = write(poisoned_rows(random, list(COLUMNS), _ROWS), tmp_path / f"log{ending}", random)
        kinds = {"row_number": Column("row_number", "BIGINT")} | {
            name: Column(f"x{place}", {".csv": "VARCHAR", ".jsonl": "JSON"}.get(ending, kind))
            for place, (name, kind) in enumerate(
                zip(
                    COLUMNS,
                    ["VARCHAR", "VARCHAR", "DOUBLE", "DOUBLE", "TIMESTAMP", "BOOLEAN", "VARCHAR", "VARCHAR"],
                    strict=True,
                )
            )
        }
        expressions, where = taken(random, kinds, _EACH)
        mapping = tmp_path / "mine.yaml"
        mapping.write_text(yaml.safe_dump(mapping_of(expressions, where)))
        rejected: list[Any] = []
        try:
            opened = read_log(log, mapping)
            events = [json.loads(record.value or b"") for record in opened.records(rejected.append)]
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        assert len(events) + len(rejected) + opened.left_out == _ROWS, f"seed {seed}"
        assert any(event["properties"] for event in events), f"seed {seed}: nothing is read"
