"""Embedded ClickHouse counts the same customers at each depth, over a hundred thousand of them.

`chdb` is no part of the environment (several hundred megabytes): `pip install chdb`, or `pip install --target DIR chdb`
and `PYTHONPATH=DIR make test-laws`.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from benchmarks.apart import apart
from benchmarks.funnel import EVENTS_PER_CUSTOMER, generate

USERS = 100_000


@pytest.mark.slow
@pytest.mark.skipif(find_spec("chdb") is None, reason="chdb is not installed: pip install chdb")
def test_clickhouse_finds_as_many_customers_at_each_depth(tmp_path):
    path = tmp_path / "events.parquet"
    generate(path, USERS * EVENTS_PER_CUSTOMER)
    ours, theirs = (dict(apart("benchmarks.funnel", way, str(path), "1").found) for way in ("entries", "clickhouse"))
    assert ours == theirs
    assert set(ours) == {1, 2, 3, 4, 5}
    assert 0 < USERS - sum(ours.values()) < USERS, "somebody never entered, somebody did"
