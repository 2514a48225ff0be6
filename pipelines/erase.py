"""`journey erase` and `journey export`: a person's right to be forgotten, and to know what is held."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from journey_core.erasures import Erasures
from journey_core.errors import InputError, JourneyError, StorageError, SupersededError
from journey_core.finding import Found
from journey_core.lake import Lake
from journey_core.privacy import Person, normalised
from journey_core.release_erasure import erase_from_releases, releases_naming
from journey_core.warehouse import ASKING, LAKE, Warehouse
from pipelines.build import build, inputs_of
from pipelines.open_lake import open_lake
from pipelines.progress import Progress, silent
from pipelines.settings import Settings


@dataclass(frozen=True)
class Erased:
    """What an erasure removed. `redacted` are events of others that named the person, and do no longer."""

    identifiers: int
    events: int
    records_removed: int
    records_redacted: int
    releases_rewritten: int
    file: str | None = None  # that the warehouse was built from, if not from the lake
    is_rebuilt: bool = True

    def __str__(self) -> str:
        warehouse = "warehouse and identity history rewritten" if self.is_rebuilt else "the warehouse removed"
        file = ""
        if self.file is not None:
            file = f"We do not change {self.file}, which may still name this person: builds from it leave them out. "
        next_step = "Check and publish the new build: journey check && journey publish"
        if not self.is_rebuilt:
            next_step = f"{self.file or 'The taxonomy'} has changed or is gone since the last build. Run: journey build"
            if self.file is not None:
                next_step += f" --events {self.file}"
        return (
            f"erased {self.identifiers:,} identifiers and {self.events:,} events: {self.records_removed:,} records "
            f"removed from the lake, {self.records_redacted:,} of others redacted, {self.releases_rewritten:,} "
            f"releases rewritten, {warehouse}.\n{file}"
            "Kafka, backups and copies of releases are not ours to erase: what Kafka still holds is rejected as "
            f"`erased` when it is landed again. {next_step}"
        )


@contextmanager
def _informed(settings: Settings, taxonomy: str | None = None) -> Iterator[Warehouse]:
    """A warehouse that knows all that is held: that of the last build, or a copy of it with what has landed since.

    The warehouse itself stays as it is: who asks does not build. A build from a file knows the whole file. `taxonomy`
    is another one than the last build's.
    """
    warehouse = settings.open_warehouse()
    # An erasure leaves an empty lake. Where nothing is built and nothing has landed, the warehouse says what to do.
    has_landed = (settings.lake / "events").exists() and bool(open_lake(settings).snapshot().files("events"))
    last = warehouse.last_build() if warehouse.path.exists() or not has_landed else None
    file = None if last is None or last.origin == LAKE else Path(last.origin)
    if file is not None and taxonomy is None:
        yield warehouse
        return
    if last is not None and taxonomy is None:
        taxonomy = inputs_of(last, settings).taxonomy
    with warehouse.copied(settings.home) as copy:
        # Whatever the last build's `as_of`: what happened after it is held, too.
        build(settings, events=file, taxonomy=taxonomy, into=copy)
        yield copy


def _as_built(settings: Settings) -> Settings:
    """The settings with the taxonomy of the last build: it says what a namespace is, and how a number is written."""
    warehouse = settings.open_warehouse()
    named = warehouse.last_build().asked.get("taxonomy") if warehouse.path.exists() else None
    return settings if named is None else settings.by_taxonomy(named)


def _person(warehouse: Warehouse, settings: Settings, who: str) -> Person:
    namespace, identifier = _named(settings, who)
    return warehouse.person(namespace if "=" in who else None, identifier)


def _named(settings: Settings, who: str) -> tuple[str, str]:
    """Namespace and identifier as the tables have them, however `who` writes them."""
    namespace, is_named, identifier = who.partition("=")
    asked = (namespace, identifier) if is_named else ("customer_id", who)
    known = normalised(*asked, settings.identity)
    return asked[0], known if settings.pseudonyms is None else settings.pseudonyms.of(*asked)


def erase(
    settings: Settings,
    who: str,
    *,
    taxonomy: str | None = None,
    consent: Callable[[Touched], None] = lambda _: None,
    progress: Progress = silent,
) -> Erased:
    """Erase a person's whole component: from the lake, the warehouse, every release kept, the identity history.

    Who belongs to it is decided by the last build's taxonomy, or by `taxonomy`. `consent` sees what will be touched
    before anything is; what it raises ends the run. Fingerprints come first: from then on nobody brings anything of
    theirs in, and landings may go on. A run that dies is finished by the same command again.
    """
    progress("finding", 0, 4)
    settings = _as_built(settings) if taxonomy is None else settings.by_taxonomy(taxonomy)
    for left in settings.home.glob(f"{ASKING}*"):
        shutil.rmtree(left)  # by a run that was killed
    lake = open_lake(settings)
    erasures = settings.read_erasures()
    whom = partial(_whom, settings, who, taxonomy, lake, erasures)
    with _saying(_NOTHING):
        sought = whom()
        consent(Touched.of(sought, settings))
        sought = _fingerprinted(sought, whom, lake, erasures)
    with _saying(_BEGUN):
        progress("erasing from releases", 1, 4)
        releases = erase_from_releases(settings.releases, sought.person)
        # Results of checks show values that broke a rule.
        shutil.rmtree(settings.checks, ignore_errors=True)
        progress("erasing from the lake", 2, 4)
        removed, redacted = lake.erase(sought.found)
        progress("building without them", 3, 4)
        file, is_rebuilt = _rebuild(settings)
        if is_rebuilt:
            settings.open_warehouse().forget(sought.person, erasures if sought.is_rest else None)
    progress("erased", 4, 4)
    person = sought.person
    return Erased(len(person.identifiers), len(person.event_ids), removed, redacted, releases, file, is_rebuilt)


@dataclass(frozen=True)
class _Sought:
    """A person, their records, and whether only fingerprints know them still."""

    person: Person
    found: Found
    is_rest: bool


def _whom(settings: Settings, who: str, taxonomy: str | None, lake: Lake, erasures: Erasures) -> _Sought:
    before = lake.snapshot().identity()
    is_rest = False
    try:
        with _informed(settings, taxonomy) as warehouse:
            person = _person(warehouse, settings, who)
    except InputError:
        namespace, identifier = _named(settings, who)
        if not (erasures.knows(namespace, identifier) or erasures.knows("name", identifier)):
            raise
        # A run before this one died after the lake: what is left of them is known by its fingerprints.
        is_rest = True
        person = Person(frozenset([identifier]), frozenset([(namespace, identifier)]), frozenset())
    unseal = None if settings.pseudonyms is None else partial(settings.pseudonyms.naming, person=person)
    found = lake.find(person, settings.identity, unseal)
    # What came in while the tables were built, they do not know.
    return _Sought(person, replace(found, lake=before), is_rest)


def _fingerprinted(sought: _Sought, whom: Callable[[], _Sought], lake: Lake, erasures: Erasures) -> _Sought:
    """Write the fingerprints; the person and their records as they are at that instant.

    Whoever has judged records before withholds theirs when they are committed. What was committed since we looked, we
    have not seen: then we look once more, while everybody else waits.
    """
    with lake.alone():
        snapshot = lake.snapshot()
        if snapshot.identity() != sought.found.lake:
            sought = whom()
        # Landings have a clock of their own: none of theirs may look like one after the erasure.
        clocks = [datetime.now(UTC), snapshot.last_landed_at()]
        erasures.add(sought.person, sought.found.hashes, max(clock for clock in clocks if clock is not None))
    return sought


@dataclass(frozen=True)
class Touched:
    """What an erasure will touch, and by which taxonomy it knows what is theirs. It names nobody: logs may keep it."""

    taxonomy: str
    identifiers: dict[str, int]  # namespace → how many of theirs
    events: int
    removed: int
    redacted: int
    releases: int

    @classmethod
    def of(cls, sought: _Sought, settings: Settings) -> Touched:
        """What was found, in numbers."""
        namespaces = Counter(namespace for namespace, _ in sought.person.identifiers)
        return cls(
            settings.taxonomy,
            dict(sorted(namespaces.items())),
            len(sought.person.event_ids),
            sought.found.removed,
            sought.found.redacted,
            len(releases_naming(settings.releases, sought.person)),
        )

    def __str__(self) -> str:
        named = ", ".join(f"{count:,} {namespace}" for namespace, count in self.identifiers.items())
        return (
            f"by the taxonomy {self.taxonomy}, they have {sum(self.identifiers.values()):,} identifiers ({named}) and "
            f"{self.events:,} events. To erase them removes {self.removed:,} records from the lake, changes "
            f"{self.redacted:,} of others, rewrites {self.releases:,} releases that name them, and builds again"
        )


_NOTHING = "This run has erased nothing"
_BEGUN = "The erasure has begun and is not finished: they may still be in some files. The same command finishes it"


@contextmanager
def _saying(said: str) -> Iterator[None]:
    """An error of the disk or of a file says how far the erasure has come."""
    try:
        yield
    except StorageError as error:
        error.args = (f"{error}. {said}",)
        raise
    except SupersededError as error:  # which would end well: for landings it is good news
        raise JourneyError(f"somebody else wrote to the lake all the while: {error}. {said}") from error
    except OSError as error:
        raise StorageError(f"{error}. Free some space or check its permissions. {said}") from error


def _rebuild(settings: Settings) -> tuple[str | None, bool]:
    """Build the last build again, without who was erased; the file that it was built from, and whether it was built.

    A file that has changed or is gone cannot be built from, and what was built from it still names them: it goes.
    """
    warehouse = settings.open_warehouse()
    if not warehouse.path.exists():
        build(settings)
        return None, True
    last = warehouse.last_build()
    file = None if last.origin == LAKE else last.origin
    try:
        inputs = inputs_of(last, settings)
    except InputError:
        warehouse.remove()
        return file, False
    build(settings, events=inputs.events, taxonomy=inputs.taxonomy, as_of=inputs.as_of)
    return file, True


def export(settings: Settings, who: str, *, taxonomy: str | None = None) -> Iterator[str]:
    """What is held of a person, a JSON object per line: `{"table": ..., "row": ...}`; tables in build order.

    Whose that is, the last build's taxonomy decides, or `taxonomy`. Nothing is written: see `_informed`. Raises
    InputError where nobody is known by `who`.
    """
    settings = _as_built(settings) if taxonomy is None else settings.by_taxonomy(taxonomy)
    with _informed(settings, taxonomy) as warehouse:
        yield from warehouse.held(_person(warehouse, settings, who))
