"""`journey replay-rejected`: rejected records are judged again, by today's contract."""

from __future__ import annotations

from functools import partial

from journey_core.lake import Replayed
from pipelines.admit import admit
from pipelines.open_lake import open_lake
from pipelines.settings import Settings


def replay_rejected(settings: Settings) -> Replayed:
    """Judge every rejected record again: what keeps the contract now becomes an event, the rest stays; see `Lake`."""
    return open_lake(settings).replay(partial(admit, settings=settings))
