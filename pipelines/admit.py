"""What of a batch of records is let in, and as what: for all who read records."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

import pyarrow as pa

from journey_core import contract
from journey_core.contract import Judged, Screened
from journey_core.privacy import Erasures
from pipelines.settings import Settings


def admit(records: pa.Table, settings: Settings) -> Judged:
    """Judge records by the contract, put pseudonyms where they are asked for, withhold what erased people left."""
    return settle(list(screen_each([records], settings)), settings)


def screen_each(batches: Iterable[pa.Table], settings: Settings, *, threads: int = 1) -> Generator[Screened]:
    """Begin to `admit` each of many batches, in their order. A batch's answer may wait for the next batch."""
    pseudonyms = settings.pseudonyms
    opened = batches if pseudonyms is None else map(pseudonyms.unseal, batches)
    return contract.screen_each(
        opened,
        future_tolerance=settings.future_tolerance,
        clock_tolerance=settings.clock_tolerance,
        threads=threads,
    )


def settle(screened: Sequence[Screened], settings: Settings) -> Judged:
    """What `admit` says of all these batches together."""
    judged = contract.settle(
        screened, future_tolerance=settings.future_tolerance, clock_tolerance=settings.clock_tolerance
    )
    hidden = judged if settings.pseudonyms is None else settings.pseudonyms.hide(judged)
    erasures = Erasures.read(settings.erasures)
    return erasures.withhold(hidden, settings.identity) if erasures.identifiers else hidden
