"""`journey erase` and `journey export`: a person's right to be forgotten, and to know what is held."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from journey_core.errors import InputError
from journey_core.lake import Lake
from journey_core.privacy import Erasures, Person
from journey_core.release import erase_from_releases
from pipelines.build import build
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

    def __str__(self) -> str:
        return (
            f"erased {self.identifiers:,} identifiers and {self.events:,} events: {self.records_removed:,} records "
            f"removed from the lake, {self.records_redacted:,} of others redacted, {self.releases_rewritten:,} "
            "releases rewritten, warehouse and identity history rewritten.\n"
            "Kafka, backups and copies of releases are not ours to erase: what Kafka still holds is rejected as "
            "`erased` when it is landed again. Check and publish the new build: journey check && journey publish"
        )


def find(settings: Settings, who: str) -> Person:
    """`who` is a customer_id, or `namespace=identifier`. Builds first, so that late identities count.

    Raises InputError where nobody is known by it.
    """
    build(settings)
    warehouse = settings.open_warehouse()
    namespace, identifier = _named(settings, who)
    return warehouse.person(namespace if "=" in who else None, identifier)


def _named(settings: Settings, who: str) -> tuple[str, str]:
    namespace, is_named, identifier = who.partition("=")
    asked = (namespace, identifier) if is_named else ("customer_id", who)
    return asked if settings.pseudonyms is None else (asked[0], settings.pseudonyms.of(*asked))


def erase(settings: Settings, who: str, *, progress: Progress = silent) -> Erased:
    """Erase a person's whole component: from the lake, the warehouse, every release kept, the identity history.

    Fingerprints come first: from then on a landing lets nothing of theirs in. A run that dies is finished by the same
    command again. Nobody else should write meanwhile: what a landing has judged before, it may still bring.
    """
    progress("finding", 0, 4)
    erasures = Erasures.read(settings.erasures)
    is_rest = False
    try:
        person = find(settings, who)
    except InputError:
        namespace, identifier = _named(settings, who)
        if not (erasures.knows(namespace, identifier) or erasures.knows("name", identifier)):
            raise
        # A run before this one died after the lake: what is left of them is known by its fingerprints.
        is_rest = True
        person = Person(frozenset([identifier]), frozenset([(namespace, identifier)]), frozenset())
    lake = Lake(settings.lake)
    found = lake.find(person)
    hashes = {digest for rows in found.values() for digest in rows["hash_before"].to_pylist() if digest is not None}
    erasures.add(person, hashes, datetime.now(UTC))
    progress("erasing from releases", 1, 4)
    releases = erase_from_releases(settings.releases, person)
    # Results of checks show values that broke a rule.
    shutil.rmtree(settings.checks, ignore_errors=True)
    progress("erasing from the lake", 2, 4)
    removed, redacted = lake.erase(found)
    progress("building without them", 3, 4)
    build(settings)
    settings.open_warehouse().forget(person, erasures if is_rest else None)
    progress("erased", 4, 4)
    return Erased(len(person.identifiers), len(person.event_ids), removed, redacted, releases)


def export(settings: Settings, who: str) -> Iterator[str]:
    """What is held of a person, a JSON object per line: `{"table": ..., "row": ...}`; tables in build order."""
    person = find(settings, who)
    yield from settings.open_warehouse().held(person)
