"""Parquet writer settings: row groups that are bounded by bytes where rows are large.

DuckDB reads vectors of 2,048 rows, and no vector spans two row groups. So a row group of few rows bounds the memory
of a scan, whatever the rows hold (decision 0027).
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow.parquet as pq
from deltalake.writer import WriterProperties
from deltalake.writer.properties import ColumnProperties

ROW_GROUP = 4 * 1024 * 1024  # bytes, uncompressed, of an average row group of large rows
_VECTOR = 2_048  # rows
# zstd's first level: a tenth larger than its third, in two thirds of the time. A dictionary pays where values repeat.
_REPEATING = ("topic", "event_type", "channel", "initiator", "reason", "field")
# A footer holds the least and the greatest value of each row group, whole. Nobody filters by these texts.
_TEXTS = ("context", "properties", "extra", "value")


def writer(size: int, rows: int) -> WriterProperties:
    """Settings for `rows` rows of `size` bytes in all, uncompressed. Small rows keep delta-rs's large row groups."""
    group = ROW_GROUP * rows // size if size else _VECTOR
    return WriterProperties(
        compression="ZSTD",
        compression_level=1,
        max_row_group_size=max(1, group) if group < _VECTOR else None,
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties={name: ColumnProperties(dictionary_enabled=True) for name in _REPEATING}
        | {name: ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE") for name in _TEXTS},
    )


def writer_of(files: Iterable[str]) -> WriterProperties:
    """Settings to write the rows of these Parquet files again; their footers tell the sizes."""
    size = rows = 0
    for file in files:
        footer = pq.read_metadata(file)
        rows += footer.num_rows
        size += sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    return writer(size, rows)
