"""`journey compact`: many small files of the lake become few large ones, sorted by time."""

from __future__ import annotations

from journey_core.lake import Compacted
from pipelines.open_lake import open_lake
from pipelines.settings import Settings


def compact(settings: Settings) -> Compacted:
    """Rewrite the lake's small files, without changing a row; see `Lake.compact`.

    Files that nothing has needed for `lake_keep` are removed. Landing may go on meanwhile.
    """
    return open_lake(settings).compact(keep=settings.lake_keep)
