"""The rows of a log, as a mapping's SQL makes them: batch by batch, each row with its line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pyarrow.parquet import read_schema
from pydantic_core import from_json

from journey_core.errors import InputError
from journey_core.expressions import quote
from journey_core.json_text import literal
from journey_core.lines import Bad, Cells, Line, read_cells, read_values, shown
from journey_core.mapping import Mapping, Plan
from journey_core.mapping_sql import Column, define

_JSON = (".jsonl", ".ndjson", ".json")
_CSV = {".csv": ",", ".tsv": "\t"}
FORMATS = (".parquet", *_CSV, *_JSON)
_ROWS = 10_000
_BYTES = 8 * 1024 * 1024
#: So many rows that DuckDB cannot map are bad rows; more are a bad mapping.
_UNMAPPED = 1000
_SCREEN = r"""
    select
        place,
        case when json_valid(text) then len(json_keys(text)) <> len(list_distinct(json_keys(text))) end as is_doubtful
    from batch
    where case
        when not json_valid(text) or json_type(text) <> 'OBJECT' then true
        -- DuckDB reads what JSON does not have.
        when regexp_matches(text, '(?i),\s*[\]}]|[:\[,]\s*[-+]?(nan|inf)') then true
        else len(json_keys(text)) <> len(list_distinct(json_keys(text)))
    end
"""


@dataclass(frozen=True)
class Rejected:
    """A row that becomes no event: its line (Parquet: its row) from 1, why, and what it holds.

    `field` and `event` are null where the row could not be read at all, `raw` where it comes from Parquet.
    """

    line: int
    reason: str
    field: str | None
    detail: str | None
    raw: str | None
    event: str | None


@dataclass(frozen=True)
class Row:
    """One event of a row, or what became of the row: `event`, `left_out`, `without_items`, `not_a_list`."""

    line: int
    raw: str | None
    state: str
    event: str | None


def open_source(path: Path, mapping: Mapping, kind: str) -> Source:
    """The reader of a file of one of `FORMATS`."""
    return (_Parquet if kind == ".parquet" else _Csv if kind in _CSV else _Json)(path, mapping, kind)


class Source:
    """One file. `open` finds its columns, `read` gives its rows as a plan makes them."""

    def __init__(self, path: Path, mapping: Mapping, kind: str) -> None:
        self.path = path
        self.mapping = mapping
        self.kind = kind
        self.rows: int | None = None
        #: Names that the header has more than once: no expression can say which it means.
        self.twice: frozenset[str] = frozenset()

    def open(self) -> dict[str, Column]:
        """The names that expressions may use. Empty where the file has no row that can be read."""
        with self._faults():
            return self._columns()

    def read(self, plan: Plan | None) -> Iterator[list[Row | Rejected]]:
        """Every row, in batches; without a plan only what is wrong with each."""
        with self._faults(), duckdb.connect() as connection:
            define(connection, self.mapping.timezone, self.mapping.reader.date_order)
            yield from self._read(connection, plan)

    def _columns(self) -> dict[str, Column]:
        raise NotImplementedError

    def _read(self, connection: duckdb.DuckDBPyConnection, plan: Plan | None) -> Iterator[list[Row | Rejected]]:
        raise NotImplementedError

    def _faults(self) -> _Faults:
        return _Faults(self.path)


class _Faults:
    """What is wrong with the file names the file, and says all that its reader says."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, UnicodeError, duckdb.Error)):
            raise InputError(f"{self._path} cannot be read: {error}") from error


class _Parquet(Source):
    def _columns(self) -> dict[str, Column]:
        with duckdb.connect() as connection:
            found = connection.sql(f"from read_parquet({literal(str(self.path))})")
            count = connection.execute(f"select count(*) from read_parquet({literal(str(self.path))})").fetchall()
            self.rows = count[0][0]
            kinds = map(str, found.types)
            # DuckDB gives `Revenue` beside `revenue` another name: the file's own stand in its schema.
            names = read_schema(self.path).names
            columns = {
                name: Column(f"p{place}", kind) for place, (name, kind) in enumerate(zip(names, kinds, strict=True))
            }
            return {"row_number": Column("row_number", "BIGINT")} | columns

    def _read(self, connection: duckdb.DuckDBPyConnection, plan: Plan | None) -> Iterator[list[Row | Rejected]]:
        assert plan is not None
        connection.execute(_statement(self._source(connection, plan), plan))
        while rows := connection.fetchmany(_ROWS):
            yield [Row(place, None, state, event) for place, state, event in rows]

    def _source(self, connection: duckdb.DuckDBPyConnection, plan: Plan) -> str:
        """The used columns as `p0`, `p1`: no name of the file meets one of ours."""
        file = f"from read_parquet({literal(str(self.path))}"
        found = connection.sql(f"{file})").columns
        # DuckDB numbers the rows of a file unless it has a column of that name.
        has_number = any(name.lower() == "file_row_number" for name in found)
        number, rows = (
            ("row_number() over ()", f"{file})")
            if has_number
            else ("file_row_number + 1", f"{file}, file_row_number = true)")
        )
        used = {column.sql for column in plan.used.values()}
        values = "".join(f", {quote(name)} as p{at}" for at, name in enumerate(found) if f"p{at}" in used)
        return f"select {number} as place, {number} as row_number{values} {rows}"


class _Text(Source):
    """Text, batch by batch: what a batch holds goes to DuckDB as an Arrow table."""

    def _source(self, plan: Plan) -> str:
        raise NotImplementedError

    def _batches(self, connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[list[Any], list[Rejected], pa.Table]]:
        """Good rows, bad rows, and the good ones as a table with `place` and `row_number`."""
        raise NotImplementedError

    def _read(self, connection: duckdb.DuckDBPyConnection, plan: Plan | None) -> Iterator[list[Row | Rejected]]:
        statement = None if plan is None else _statement(self._source(plan), plan)
        unmapped = 0
        for good, bad, table in self._batches(connection):
            made: list[Row | Rejected] = list(bad)
            parts = [table] if statement is not None and table.num_rows else []
            while parts:
                part = parts.pop()
                connection.register("batch", part)
                try:
                    rows = connection.execute(statement).fetchall()  # type: ignore[arg-type]
                except duckdb.Error as error:
                    if part.num_rows > 1:
                        half = part.num_rows // 2
                        parts += [part[:half], part[half:]]
                        continue
                    row, unmapped = good[part["place"][0].as_py()], unmapped + 1
                    if unmapped > _UNMAPPED:
                        raise
                    made.append(Rejected(row.line, "unmapped", None, str(error), _raw(row), None))
                    continue
                made += [Row(good[at].line, _raw(good[at]), state, event) for at, state, event in rows]
            made.sort(key=lambda row: row.line)  # stable: the events of one row keep their order
            yield made


class _Csv(_Text):
    def _columns(self) -> dict[str, Column]:
        header = next(self._cells(), None)
        if header is None:
            return {}
        assert isinstance(header, list)
        if len(header) == 1 and any(mark in header[0] for mark in ",;\t|"):
            raise InputError(
                f"{self.path}: its header is one column, {header[0]!r}; name the mark between columns in the mapping, "
                'as `reader: {delimiter: ";"}`'
            )
        seen = Counter(header)
        self.twice = frozenset(name for name in header if seen[name] > 1)
        columns = {name: Column(f"c{place}", "VARCHAR") for place, name in enumerate(header) if seen[name] == 1}
        return {"row_number": Column("row_number", "BIGINT")} | columns

    def _cells(self) -> Iterator[list[str] | Cells | Bad]:
        reader = self.mapping.reader
        delimiter = reader.delimiter or _CSV[self.kind]
        return read_cells(self.path, reader.encoding, delimiter, reader.quote, reader.columns)

    def _source(self, plan: Plan) -> str:
        used = [column.sql for column in plan.used.values() if column.sql != "row_number"]
        # An empty value is an absent one.
        values = "".join(f", nullif({sql}, '') as {sql}" for sql in used)
        return f"select place, row_number{values} from batch"

    def _batches(self, _: duckdb.DuckDBPyConnection) -> Iterator[tuple[list[Any], list[Rejected], pa.Table]]:
        rows = self._cells()
        header = next(rows, None)
        width, first = len(header) if isinstance(header, list) else 0, 1
        for batch in _batched(rows):
            good = [(number, row) for number, row in enumerate(batch, start=first) if isinstance(row, Cells)]
            first += len(batch)
            bad = [_rejected(row) for row in batch if isinstance(row, Bad)]
            columns = list(zip(*(row.values for _, row in good), strict=True)) or [()] * width
            table = pa.table(
                [pa.arange(0, len(good)), pa.array([number for number, _ in good], pa.int64())]
                + [pa.array(column, pa.string()) for column in columns],
                names=["place", "row_number", *(f"c{place}" for place in range(width))],
            )
            yield [row for _, row in good], bad, table


class _Json(_Text):
    def _columns(self) -> dict[str, Column]:
        keys: dict[str, None] = {}
        self.rows = 0
        with duckdb.connect() as connection:
            for good, bad, _ in self._batches(connection):
                self.rows += len(good) + len(bad)
                if good:
                    found = connection.execute("select distinct unnest(json_keys(text)) from batch").fetchall()
                    keys |= dict.fromkeys(sorted(key for (key,) in found))
        if not keys:
            return {}
        # Keys that a file of this kind may have, though no row of this one does.
        keys |= dict.fromkeys(self.mapping.reader.columns or ())
        columns = {name: Column(f"j{place}", "JSON") for place, name in enumerate(keys)}
        return {"row_number": Column("row_number", "BIGINT")} | columns

    def _source(self, plan: Plan) -> str:
        used = {name: column.sql for name, column in plan.used.items() if column.sql != "row_number"}
        paths = ", ".join(literal(_pointer(name)) for name in used)
        leaves = "".join(f", leaves[{place}] as {sql}" for place, sql in enumerate(used.values(), start=1))
        opened = f", json_extract(marked(text)::json, [{paths}]) as leaves" if used else ""
        return f"select place, row_number{leaves} from (select place, row_number{opened} from batch)"

    def _batches(self, connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[list[Any], list[Rejected], pa.Table]]:
        first = 1
        for batch in _batched(read_values(self.path, self.mapping.reader.encoding, kind=self.kind)):
            # Row by row: members of an array may stand on one line.
            faults = [_not_utf8(row) for row in batch]
            bad = [_rejected(fault) for fault in faults if fault is not None]
            good = [
                (first + at, row) for at, (row, fault) in enumerate(zip(batch, faults, strict=True)) if fault is None
            ]
            first += len(batch)
            table = _texts(good)
            connection.register("batch", table)
            doubtful = dict(connection.execute(_SCREEN).fetchall()) if good else {}
            if doubtful:
                judged = {at: _judged_json(good[at][1], is_doubtful) for at, is_doubtful in doubtful.items()}
                bad += [row for row in judged.values() if row is not None]
                good = [row for at, row in enumerate(good) if judged.get(at) is None]
                table = _texts(good)
                connection.register("batch", table)
            yield [row for _, row in good], bad, table


def _texts(rows: list[tuple[int, Line]]) -> pa.Table:
    return pa.table(
        {
            "place": pa.arange(0, len(rows)),
            "row_number": pa.array([number for number, _ in rows], pa.int64()),
            "text": pa.array([row.value.decode() for _, row in rows], pa.string()),
        }
    )


def _not_utf8(row: Line) -> Bad | None:
    try:
        row.value.decode()
    except UnicodeDecodeError as error:
        return Bad(row.line, shown(row.value), "not_utf8", f"{error}; the mapping's `reader` can say the encoding")
    return None


def _judged_json(row: Line, is_doubtful: bool | None) -> Rejected | None:
    """A second look at a row that DuckDB does not read, or reads more kindly than JSON's rules are."""
    try:
        value = from_json(row.value, allow_inf_nan=False)
    except ValueError as error:
        return _rejected(Bad(row.line, shown(row.value), "invalid_json", str(error)))
    if not isinstance(value, dict):
        return _rejected(Bad(row.line, shown(row.value), "invalid_json", "a row is one JSON object"))
    if is_doubtful is None:
        return _rejected(Bad(row.line, shown(row.value), "invalid_json", "DuckDB cannot read it"))
    if is_doubtful:
        return _rejected(Bad(row.line, shown(row.value), "duplicate_key", "a key stands here twice"))
    return None


def _rejected(row: Bad) -> Rejected:
    return Rejected(row.line, row.reason, None, row.detail, row.raw, None)


def _raw(row: Cells | Line) -> str:
    return row.raw if isinstance(row, Cells) else shown(row.value)


def _statement(source: str, plan: Plan) -> str:
    """SQL of (place, state, event), in the rows' order, then the items'."""
    if plan.each is None:
        return (
            f"select place, if(is_kept, 'event', 'left_out'), case when is_kept then {plan.event} end "
            f"from (select *, {plan.where} as is_kept from ({source}))"
        )
    return f"""
        with kept as (select *, {plan.where} as is_kept from ({source})),
        opened as (select *, case when is_kept then {plan.each} end as whole from kept),
        listed as (
            select *, case when json_type(whole) = 'ARRAY' then json_extract(whole, '$[*]') end as items from opened
        ),
        states as (
            select *, case
                when not is_kept then 'left_out'
                when coalesce(json_type(whole), 'NULL') = 'NULL' or items = [] then 'without_items'
                when items is null then 'not_a_list'
                else 'event' end as state
            from listed
        ),
        apart as (
            select
                * exclude (items, whole),
                unnest(if(state = 'event', items, [null::json])) as item,
                unnest(if(state = 'event', range(1, len(items) + 1), [1])) as item_number
            from states
        )
        select place, state, case when state = 'event' then {plan.event} end from apart
    """


def _pointer(key: str) -> str:
    """A key as a path: a JSON pointer takes any name, the empty one too."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _batched(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Rows in lists of ten thousand, or of 8 MB."""
    iterator = iter(rows)
    while batch := list(islice(iterator, 1)):
        size = _size(batch[0])
        for row in islice(iterator, _ROWS - 1):
            batch.append(row)
            size += _size(row)
            if size > _BYTES:
                break
        yield batch


def _size(row: Any) -> int:
    return len(row.value) if isinstance(row, Line) else len(row.raw)
