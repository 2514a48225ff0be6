"""`journey erase` and `journey export`: a person's right to be forgotten, and to know what is held."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from journey_core.errors import InputError, JourneyError, StorageError, SupersededError
from journey_core.privacy import Erasures, Person, normalised
from journey_core.release import erase_from_releases
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
def _informed(settings: Settings) -> Iterator[Warehouse]:
    """A warehouse that knows all that is held: that of the last build, or a copy of it with what has landed since.

    The warehouse itself stays as it is: who asks does not build. A build from a file knows the whole file.
    """
    warehouse = settings.open_warehouse()
    # An erasure leaves an empty lake. Where nothing is built and nothing has landed, the warehouse says what to do.
    has_landed = (settings.lake / "events").exists() and bool(open_lake(settings).snapshot().files("events"))
    last = warehouse.last_build() if warehouse.path.exists() or not has_landed else None
    if last is not None and last.origin != LAKE:
        yield warehouse
        return
    taxonomy = None if last is None else inputs_of(last, settings).taxonomy
    with warehouse.copied(settings.home) as copy:
        # Whatever the last build's `as_of`: what happened after it is held, too.
        build(settings, taxonomy=taxonomy, into=copy)
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


def erase(settings: Settings, who: str, *, progress: Progress = silent) -> Erased:
    """Erase a person's whole component: from the lake, the warehouse, every release kept, the identity history.

    Fingerprints come first: from then on a landing lets nothing of theirs in. A run that dies is finished by the same
    command again. Nobody else should write meanwhile: what a landing has judged before, it may still bring.
    """
    progress("finding", 0, 4)
    settings = _as_built(settings)
    for left in settings.home.glob(f"{ASKING}*"):
        shutil.rmtree(left)  # by a run that was killed
    erasures = Erasures.read(settings.erasures)
    is_rest = False
    try:
        with _saying(_NOTHING), _informed(settings) as warehouse:
            person = _person(warehouse, settings, who)
    except InputError:
        namespace, identifier = _named(settings, who)
        if not (erasures.knows(namespace, identifier) or erasures.knows("name", identifier)):
            raise
        # A run before this one died after the lake: what is left of them is known by its fingerprints.
        is_rest = True
        person = Person(frozenset([identifier]), frozenset([(namespace, identifier)]), frozenset())
    lake = open_lake(settings)
    found = lake.find(person, settings.identity)
    hashes = {digest for rows in found.values() for digest in rows["hash_before"].to_pylist() if digest is not None}
    erasures.add(person, hashes, datetime.now(UTC))
    with _saying(_BEGUN):
        progress("erasing from releases", 1, 4)
        releases = erase_from_releases(settings.releases, person)
        # Results of checks show values that broke a rule.
        shutil.rmtree(settings.checks, ignore_errors=True)
        progress("erasing from the lake", 2, 4)
        removed, redacted = lake.erase(found)
        progress("building without them", 3, 4)
        file, is_rebuilt = _rebuild(settings)
        if is_rebuilt:
            settings.open_warehouse().forget(person, erasures if is_rest else None)
    progress("erased", 4, 4)
    return Erased(len(person.identifiers), len(person.event_ids), removed, redacted, releases, file, is_rebuilt)


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


def export(settings: Settings, who: str) -> Iterator[str]:
    """What is held of a person, a JSON object per line: `{"table": ..., "row": ...}`; tables in build order.

    Nothing is written: see `_informed`. Raises InputError where nobody is known by `who`.
    """
    settings = _as_built(settings)
    with _informed(settings) as warehouse:
        yield from warehouse.held(_person(warehouse, settings, who))
