"""What of a batch of records is let in, and as what: for all who read records."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing

import pyarrow as pa

from journey_core.contract import Judged, judge_each
from journey_core.privacy import Erasures
from pipelines.settings import Settings


def admit(records: pa.Table, settings: Settings) -> Judged:
    """Judge records by the contract, put pseudonyms where they are asked for, withhold what erased people left."""
    (judged,) = admit_each([records], settings)
    return judged


def admit_each(batches: Iterable[pa.Table], settings: Settings) -> Generator[Judged]:
    """`admit` each of many batches, in their order. A batch's answer may wait for the next batch (`judge_each`)."""
    pseudonyms = settings.pseudonyms
    opened = batches if pseudonyms is None else map(pseudonyms.unseal, batches)
    with closing(judge_each(opened, future_tolerance=settings.future_tolerance)) as answers:
        for judged in answers:
            hidden = judged if pseudonyms is None else pseudonyms.hide(judged)
            yield Erasures.read(settings.erasures).withhold(hidden)
            del judged, hidden  # the next one is a while in coming
