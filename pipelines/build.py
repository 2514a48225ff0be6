"""`journey build`: lake (or a file of events) → warehouse tables, in one transaction."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from journey_core.contract import Judged
from journey_core.errors import InputError, NothingAcceptedError, TaxonomyError
from journey_core.event_files import read_events
from journey_core.taxonomy import load_taxonomy
from journey_core.warehouse import LAKE, Build, Source, Warehouse
from pipelines.admit import admit
from pipelines.open_lake import open_lake
from pipelines.progress import Progress, silent
from pipelines.settings import Settings


def build(
    settings: Settings,
    *,
    events: Path | None = None,
    taxonomy: str | None = None,
    as_of: datetime | None = None,
    full: bool = False,
    new_lake: bool = False,
    into: Warehouse | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Build:
    """Build every table from the lake, or from `events`, a file of canonical events (`read_events`).

    `as_of` (UTC) defaults to the latest event; later events are then not known. The same input as the last build's
    changes nothing, unless `full`. A lake that is lost is refused, unless `new_lake` (see `open_lake`). `into` is
    another warehouse than that of `settings`. `say` hears of a file's rejected records. Raises TaxonomyError,
    StorageError, LostLakeError, or InputError, also for a file of which nothing is accepted; the previous tables stay.
    """
    named = taxonomy or settings.taxonomy
    loaded = load_taxonomy(named)
    warehouse = into or settings.open_warehouse()
    source = _lake(settings, new_lake) if events is None else _file(events, settings.by_taxonomy(named), say)
    if events is None and not (source.files() or source.rejected_events or source.landing_gaps):
        _refuse_to_empty(warehouse)
    return warehouse.build(source, loaded, as_of=as_of, full=full, named=_absolute(named), progress=progress)


def _refuse_to_empty(warehouse: Warehouse) -> None:
    """An empty lake is no news for a warehouse that was built from a file."""
    last = warehouse.last_build() if warehouse.path.exists() else None
    if last is not None and last.origin != LAKE:
        raise InputError(
            f"the lake is empty, and the last build was made from {last.origin}: its tables stay. "
            f"Run: journey build --events {last.origin}, or land events first"
        )


@dataclass(frozen=True)
class Inputs:
    """What the last build was made from, where that is still there: to `build` from these changes nothing but the news.

    `events` is None for the lake.
    """

    events: Path | None
    taxonomy: str
    as_of: datetime | None


def inputs_of(last: Build, settings: Settings) -> Inputs:
    """The inputs of the last build. Raises InputError where one of them is gone or has changed since.

    A command that has to build, and was not asked to build something else, builds from these.
    """
    taxonomy = last.asked.get("taxonomy") or settings.taxonomy
    try:
        is_same = load_taxonomy(taxonomy).fingerprint == last.taxonomy_fingerprint
    except TaxonomyError:
        is_same = False
    if not is_same:
        raise InputError(f"the taxonomy `{taxonomy}` has changed since the last build, or is gone. Run: journey build")
    events = None if last.origin == LAKE else Path(last.origin)
    if events is not None and not (events.is_file() and last.source.startswith(_digest(events))):
        raise InputError(f"{last.origin}, which the last build was made from, has changed or is gone")
    as_of = last.asked.get("as_of")
    return Inputs(events, taxonomy, None if as_of is None else datetime.fromisoformat(as_of))


def _absolute(taxonomy: str) -> str:
    """A taxonomy's name, or the path of its file wherever one stands."""
    path = Path(taxonomy)
    return str(path.absolute()) if path.suffix in (".yaml", ".yml") else taxonomy


def _lake(settings: Settings, new_lake: bool) -> Source:
    snapshot = open_lake(settings, new_lake=new_lake).snapshot()
    return Source(
        snapshot.identity(),
        snapshot.files("events"),
        snapshot.files("rejected_events"),
        snapshot.files("landing_gaps"),
    )


def _file(path: Path, settings: Settings, say: Callable[[str], None]) -> Source:
    judged = admit(read_events(path), settings)
    said = _rejections(judged)
    # A file whose people were all erased holds nothing any more, and that is what was asked for.
    if judged.accepted.num_rows == 0 and "erased" not in judged.rejected["reason"].to_pylist():
        raise NothingAcceptedError(
            f"{path}: no event could be accepted: {said}" if said else f"{path} is empty: it holds no events"
        )
    if said:
        say(f"{path}: {said}; staging.rejected_events has them all")
    # The same file gives other rows where it is judged in another way, or somebody was erased meanwhile.
    judged_by = (
        settings.future_tolerance,
        settings.clock_tolerance,
        settings.pseudonyms,
        settings.pseudonyms and settings.pseudonyms.secret,  # which its own text does not show
        settings.erasures.read_text() if settings.erasures.exists() else "",
    )
    identity = f"{_digest(path)}:{hashlib.sha256(repr(judged_by).encode()).hexdigest()[:16]}"
    return Source(identity, judged.accepted, judged.rejected, origin=str(path.absolute()))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
