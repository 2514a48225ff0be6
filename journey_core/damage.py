"""Files that do not hold what was written: which one it is, and what mends it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from journey_core.errors import DamagedError, TaxonomyError

#: What mends a lake. Nothing can be made anew from it: it is what everything else is made from.
MEND_LAKE = (
    "Run: journey verify, which names every damaged file. Restore those from a backup, or land again from Kafka into a "
    "new JOURNEY_HOME"
)
_STACK = re.compile(r"\n\s*0: |\n\s*LINE \d+: |stack backtrace:")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def first_line(error: BaseException) -> str:
    """What an error says, on one line: without delta-rs's stack and colours, and without DuckDB's view of our SQL."""
    said = _STACK.split(_COLOURS.sub("", str(error)), maxsplit=1)[0]
    return " ".join(said.split()).removesuffix(".") or type(error).__name__


def unreadable(files: Sequence[str]) -> tuple[str, str] | None:
    """The first Parquet file that cannot be read to its end, and why; None where all can."""
    with duckdb.connect() as connection:
        for file in files:
            try:
                connection.execute(
                    f"select bit_xor(hash(held)) from read_parquet('{file.replace(chr(39), chr(39) * 2)}') as held"
                ).fetchall()
            except duckdb.Error as error:
                return file, first_line(error)
    return None


@contextmanager
def reading(files: Sequence[str]) -> Iterator[None]:
    """Raises DamagedError where DuckDB fails because one of the lake's files cannot be read; other errors pass."""
    try:
        yield
    except (duckdb.Error, TaxonomyError, OSError, pa.ArrowException) as error:  # the last two: of a stream of batches
        raise_if_unreadable(files, error)
        raise


def raise_if_unreadable(files: Sequence[str], error: BaseException) -> None:
    """Raises DamagedError, in the place of `error`, where one of the lake's files cannot be read."""
    if (found := unreadable(files)) is not None:
        raise DamagedError(f"{found[0]} of the lake is damaged: {found[1]}. {MEND_LAKE}") from error


def damaged_log(table: Path, error: BaseException | str) -> DamagedError:
    """What to say of a table of the lake whose log cannot be read."""
    said = error if isinstance(error, str) else first_line(error)
    return DamagedError(f"{table / '_delta_log'} is damaged: {said}. {MEND_LAKE}")
