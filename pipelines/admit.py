"""Which records enter the lake, and in what form: for every verb that reads records."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

import pyarrow as pa

from journey_core import contract
from journey_core.contract import Judged, Screened
from pipelines.settings import Settings


def admit(records: pa.Table, settings: Settings) -> Judged:
    """Judge records by the contract, put pseudonyms where they are asked for, withhold what erased people left."""
    return withhold(settle(list(screen_each([records], settings)), settings), settings)


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
    """The verdict on all these batches together, with pseudonyms. What erased people left is still among it."""
    judged = contract.settle(
        screened, future_tolerance=settings.future_tolerance, clock_tolerance=settings.clock_tolerance
    )
    return judged if settings.pseudonyms is None else settings.pseudonyms.hide(judged)


def withhold(judged: Judged, settings: Settings) -> Judged:
    """`judged` without what erased people left, by the fingerprints of now.

    Whoever writes to the lake calls it under the lake's lock: somebody may be erased while a batch is judged.
    """
    return settings.read_erasures().withhold(judged, settings.identity)
