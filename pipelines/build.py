"""`journey build`: lake (or a file of events) → warehouse tables, in one transaction."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from journey_core.contract import Judged
from journey_core.errors import NothingAcceptedError
from journey_core.event_files import read_events
from journey_core.lake import Lake
from journey_core.taxonomy import load_taxonomy
from journey_core.warehouse import Build, Source
from pipelines.admit import admit
from pipelines.progress import Progress, silent
from pipelines.settings import Settings


def build(
    settings: Settings,
    *,
    events: Path | None = None,
    taxonomy: str | None = None,
    as_of: datetime | None = None,
    full: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Build:
    """Build every table from the lake, or from `events`, a file of canonical events (`read_events`).

    `as_of` (UTC) defaults to the latest event; later events are then not known. The same input as the last build's
    changes nothing, unless `full`. `say` hears of a file's rejected records. Raises TaxonomyError, StorageError, or
    InputError, also for a file of which nothing is accepted; the previous tables stay.
    """
    loaded = load_taxonomy(taxonomy or settings.taxonomy)
    source = _lake(settings) if events is None else _file(events, settings, say)
    return settings.open_warehouse().build(source, loaded, as_of=as_of, full=full, progress=progress)


def _lake(settings: Settings) -> Source:
    snapshot = Lake(settings.lake).snapshot()
    return Source(
        snapshot.identity(),
        snapshot.files("events"),
        snapshot.files("rejected_events"),
        snapshot.files("landing_gaps"),
    )


def _file(path: Path, settings: Settings, say: Callable[[str], None]) -> Source:
    judged = admit(read_events(path), settings)
    said = _rejections(judged)
    if judged.accepted.num_rows == 0:
        raise NothingAcceptedError(
            f"{path}: no event could be accepted: {said}" if said else f"{path} is empty: it holds no events"
        )
    if said:
        say(f"{path}: {said}; staging.rejected_events has them all")
    return Source(hashlib.sha256(path.read_bytes()).hexdigest(), judged.accepted, judged.rejected)


def _rejections(judged: Judged) -> str:
    """How many records of a file are rejected and why, and which is the first; empty where none is."""
    rows = judged.rejected.select(["offset", "reason", "field", "detail"]).sort_by("offset").to_pylist()
    if not rows:
        return ""
    reasons = Counter(row["reason"] for row in rows)
    counts = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    first = ": ".join(str(rows[0][name]) for name in ("reason", "field", "detail") if rows[0][name])
    total = len(rows) + judged.accepted.num_rows
    return f"{len(rows):,} of {total:,} records rejected ({counts}), first at line {rows[0]['offset']}: {first}"
