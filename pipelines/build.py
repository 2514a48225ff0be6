"""`journey build`: lake (or a file of events) → warehouse tables, in one transaction."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

from journey_core.contract import records_of
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
) -> Build:
    """Build every table from the lake, or from `events`, a JSONL or Parquet file of canonical events.

    `as_of` (UTC) defaults to the latest event; later events are then not known. The same input as the last build's
    changes nothing, unless `full`. Raises TaxonomyError, InputError or StorageError; the previous tables stay.
    """
    loaded = load_taxonomy(taxonomy or settings.taxonomy)
    source = _lake(settings) if events is None else _file(events, settings)
    return settings.open_warehouse().build(source, loaded, as_of=as_of, full=full, progress=progress)


def _lake(settings: Settings) -> Source:
    snapshot = Lake(settings.lake).snapshot()
    return Source(
        snapshot.identity(),
        snapshot.files("events"),
        snapshot.files("rejected_events"),
        snapshot.files("landing_gaps"),
    )


def _file(path: Path, settings: Settings) -> Source:
    judged = admit(records_of(read_events(path), topic="file"), settings)
    return Source(hashlib.sha256(path.read_bytes()).hexdigest(), judged.accepted, judged.rejected)
