"""`journey verify`: whether every file of a home is still as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from journey_core.errors import LostLakeError
from journey_core.verify import Finding, verify_lake, verify_releases, verify_warehouse
from pipelines.open_lake import open_lake
from pipelines.progress import Progress, silent
from pipelines.settings import Settings


@dataclass(frozen=True)
class Verified:
    """How many files were compared; `damaged` says of each bad one what is wrong, and what mends it.

    `unrecorded` files had no checksum: a process died before it wrote one, or they are of an older version. They were
    read as a whole.
    """

    files: int
    unrecorded: int
    damaged: tuple[Finding, ...]

    def __str__(self) -> str:
        verdict = f"{len(self.damaged):,} damaged" if self.damaged else "all as they were written"
        noted = f" ({self.unrecorded:,} without a checksum, read as a whole)" if self.unrecorded else ""
        files = "1 file" if self.files == 1 else f"{self.files:,} files"
        return "\n".join([f"verified {files}{noted}: {verdict}", *map(str, self.damaged)])


def verify(settings: Settings, *, progress: Progress = silent) -> Verified:
    """Compare every file of the lake, the warehouse and the releases with its checksum; nothing is changed."""
    found = []
    for number, finding in enumerate(_findings(settings)):
        progress("verifying", number, None)
        found.append(finding)
    return Verified(
        len(found),
        sum(not finding.is_recorded for finding in found),
        tuple(finding for finding in found if finding.fault is not None),
    )


def _findings(settings: Settings) -> Iterator[Finding]:
    try:
        yield from verify_lake(open_lake(settings).root)
    except LostLakeError as error:
        yield Finding(settings.lake, "is lost", str(error))
    yield from verify_warehouse(settings.open_warehouse())
    yield from verify_releases(settings.releases)
