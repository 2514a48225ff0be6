"""`journey replay-rejected`: rejected records are judged again, by today's contract."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from journey_core.contract import Judged
from journey_core.lake import Replayed
from pipelines.admit import screen_each, settle, withhold
from pipelines.open_lake import open_lake
from pipelines.settings import Settings


def replay_rejected(settings: Settings) -> Replayed:
    """Judge every rejected record again: what keeps the contract now becomes an event, the rest stays; see `Lake`."""
    return open_lake(settings).replay(partial(_judge, settings=settings), partial(withhold, settings=settings))


def _judge(records: pa.Table, settings: Settings) -> Judged:
    return settle(list(screen_each([records], settings)), settings)
