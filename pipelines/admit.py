"""What of a batch of records is let in, and as what: for all who read records."""

from __future__ import annotations

import pyarrow as pa

from journey_core.contract import Judged, judge
from journey_core.privacy import Erasures
from pipelines.settings import Settings


def admit(records: pa.Table, settings: Settings) -> Judged:
    """Judge records by the contract, put pseudonyms where they are asked for, withhold what erased people left."""
    pseudonyms = settings.pseudonyms
    opened = records if pseudonyms is None else pseudonyms.unseal(records)
    judged = judge(opened, future_tolerance=settings.future_tolerance)
    return Erasures.read(settings.erasures).withhold(judged if pseudonyms is None else pseudonyms.hide(judged))
