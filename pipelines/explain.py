"""`journey explain-funnel`: one customer's attempts step by step, and what other products would say of the funnel."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from journey_core.errors import InputError
from journey_core.taxonomy import PROFILES, load_taxonomy
from pipelines.settings import Settings
from pipelines.tables import rows_as_text

_STEPS = """
    select
        attempts.attempt,
        attempts.status,
        steps.step_order,
        steps.step,
        attempts.step_times[steps.step_order] as taken_at,
        touchpoints.event_type,
        touchpoints.channel,
        attempts.event_ids[steps.step_order] as event_id
    from marts.funnel_attempts as attempts
    inner join taxonomy.funnel_steps as steps using (funnel)
    left join marts.touchpoints on attempts.event_ids[steps.step_order] = touchpoints.event_id
    where funnel = '{funnel}' and attempts.customer_id = '{customer}'
    order by attempts.attempt, steps.step_order
"""
_REASONS = """
    select attempt, evidence_rank, reason, signal, detail, event_ids from marts.drop_reasons
    where funnel = '{funnel}' and customer_id = '{customer}'
    order by attempt, evidence_rank
"""
_COUNTS = """
    select
        funnel as counted_as,
        funnels.matching as "order",
        funnels.entry,
        epoch(funnels.funnel_window) / 86400 as window_days,
        {steps},
        sum(customers_converted)::bigint as converted,
        sum(customers_converted) / nullif(arg_min(customers_reached, step_order), 0) as conversion_rate,
        sum(customers_open)::bigint as still_open,
        sum(customers_excluded)::bigint as excluded,
        any_value(counts) as counts
    from marts.funnel_drops
    inner join taxonomy.funnels using (funnel)
    where segment_by = 'all' and funnel in ({funnels})
    group by funnel, funnels.matching, funnels.entry, funnels.funnel_window
    order by list_position([{funnels}], funnel)
"""
_JUDGED = """
    select funnel as counted_as, attempt, entered_at, status, furthest_step, ended_at from marts.funnel_attempts
    where funnel in ({funnels}) and customer_id = '{customer}'
    order by list_position([{funnels}], funnel), attempt
"""
# Whoever the ways of counting disagree about teaches most; then whoever has left.
_CUSTOMER = """
    select customer_id from marts.funnel_attempts
    where funnel in ({funnels})
    group by customer_id
    order by
        count(distinct (status, furthest_step)) > 1 desc,
        bool_or(status = 'dropped' and funnel = '{funnel}') desc,
        customer_id
    limit 1
"""


@dataclass(frozen=True)
class Explanation:
    """One customer's attempts (a row per attempt and step), why they ended, and what each way of counting says.

    `judged` is of this customer, `counts` of all.
    """

    funnel: str
    customer_id: str
    steps: pa.Table
    reasons: pa.Table
    judged: pa.Table
    counts: pa.Table

    def __str__(self) -> str:
        why = rows_as_text(self.reasons) if self.reasons.num_rows else "No attempt of theirs was dropped."
        return "\n\n".join(
            [
                f"{self.funnel}: how {self.customer_id} went through it",
                rows_as_text(self.steps),
                "Why they left (the first is the primary reason)",
                why,
                "What each way of counting makes of them",
                rows_as_text(self.judged),
                "The same funnel by each way of counting, on the same events; conversion_rate counts the open as lost",
                rows_as_text(self.counts),
            ]
        )


def explain_funnel(
    settings: Settings, name: str, *, customer: str | None = None, taxonomy: str | None = None
) -> Explanation:
    """Explain a funnel on the last build's events. `customer` defaults to one whom the ways of counting disagree about.

    Raises InputError where there is no such funnel, or the customer never entered it.
    """
    loaded = load_taxonomy(taxonomy or settings.taxonomy)
    found = next((funnel for funnel in loaded.funnels if funnel.funnel == name), None)
    if found is None:
        known = ", ".join(funnel.funnel for funnel in loaded.funnels) or "none"
        raise InputError(f"{loaded.taxonomy} has no funnel `{name}`; its funnels: {known}")
    # A profile's own name is what its variant goes by: a funnel that bears one already steps aside.
    others = [funnel for funnel in loaded.funnels if funnel is not found and funnel.funnel not in PROFILES]
    variants = [found.counted_as(profile) for profile in PROFILES if profile != name]
    asked = loaded.model_copy(update={"funnels": [*others, found, *variants]})
    funnels = ", ".join(f"'{funnel.funnel}'" for funnel in [found, *variants])
    tables = ("marts.funnel_attempts", "marts.funnel_drops", "marts.touchpoints")
    warehouse = settings.open_warehouse()
    with warehouse.trial(asked, (*tables, "taxonomy.funnels", "taxonomy.funnel_steps")) as rows:
        if customer is None:
            (customer,) = rows(_CUSTOMER.format(funnel=name, funnels=funnels))["customer_id"].to_pylist() or [None]
        if customer is None:
            raise InputError(f"nobody has entered `{name}` yet. Look at its first step, and at marts.touchpoints")
        who = {"funnel": name, "customer": customer.replace("'", "''")}
        steps = rows(_STEPS.format(**who))
        if not steps.num_rows:
            raise InputError(f"{customer} never entered `{name}`. Who did: marts.funnel_attempts")
        columns = ", ".join(
            f'any_value(customers_reached) filter (where step_order = {order}) as "{order} {step.step}"'
            for order, step in enumerate(found.steps, start=1)
        )
        judged = rows(_JUDGED.format(funnels=funnels, **who))
        counts = rows(_COUNTS.format(steps=columns, funnels=funnels))
    # Apart: the variants are funnels beside this one, and entering one of those would be a reason.
    with warehouse.trial(loaded, ("marts.drop_reasons",)) as rows:
        reasons = rows(_REASONS.format(**who))
    return Explanation(name, customer, steps, reasons, judged, counts)
