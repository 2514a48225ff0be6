-- Why each dropped attempt was left: every piece of evidence, the primary one first, or `unknown`.
-- Grain: (funnel, customer_id, attempt, evidence_rank).

with

exits as (select * from marts.funnel_exits),

attempt_steps as (select * from intermediate.attempt_steps),

attempt_segments as (select * from intermediate.funnel_attempt_segments),

exposures as (
    select * from intermediate.step_exposures
    where is_dropped
),

paces as (select * from intermediate.step_paces),

evidence as (select * from intermediate.drop_evidence),

drivers as (select * from marts.drop_drivers),

history as (select * from intermediate.touchpoint_history),

reasons as (select * from taxonomy.reasons),

failure_words as (select * from taxonomy.failure_words),

slow as (
    select
        attempt_steps.funnel,
        attempt_steps.customer_id,
        attempt_steps.attempt,
        'friction' as reason,
        'slow_step' as signal,
        'none' as detail,
        [attempt_steps.left_event_id, attempt_steps.event_id] as event_ids
    from attempt_steps
    inner join paces on attempt_steps.funnel = paces.funnel and attempt_steps.step_order = paces.step_order
    where
        attempt_steps.status = 'dropped'
        and attempt_steps.step_order = attempt_steps.furthest_step
        and epoch(attempt_steps.taken_at - attempt_steps.left_at) > paces.slow_seconds
),

-- The parts of a funnel in which an attempt was compared: the whole, its segments, its period of entry.
parts as (
    select
        funnel,
        customer_id,
        attempt,
        segment_by,
        segment,
        'all' as period
    from attempt_segments
    union all
    select
        funnel,
        customer_id,
        attempt,
        'all' as segment_by,
        'all' as segment,
        strftime(period_start, '%Y-%m-%dT%H:%M:%SZ') as period
    from exposures
),

-- A failure that no signal declares, told by its name and by how much oftener those who left have seen it.
undeclared as (
    select
        exits.funnel,
        exits.customer_id,
        exits.attempt,
        'failure' as reason,
        history.event_type as signal,
        'none' as detail,
        list_sort(list_distinct(list(history.event_id))) as event_ids
    from exits
    inner join parts
        on exits.funnel = parts.funnel
        and exits.customer_id = parts.customer_id
        and exits.attempt = parts.attempt
    inner join drivers
        on exits.funnel = drivers.funnel
        and exits.step_order = drivers.step_order
        and parts.segment_by = drivers.segment_by
        and parts.segment = drivers.segment
        and parts.period = drivers.period
        and drivers.candidate_kind = 'event'
        and drivers.is_driver
    inner join failure_words on regexp_matches(drivers.signal, failure_words.pattern)
    inner join history as last_touchpoint on exits.last_event_id = last_touchpoint.event_id
    inner join history
        on exits.customer_id = history.customer_id
        and drivers.signal = history.event_type
        and last_touchpoint.event_order < history.event_order
        and exits.exit_at >= history.occurred_at
    group by exits.funnel, exits.customer_id, exits.attempt, history.event_type
),

found as (
    select * from evidence
    union all
    select * from slow
    union all
    select * from undeclared
),

-- What those who went on have seen as often is no reason. It is shown, and stands behind all other evidence. At less than
-- twice the odds, most of those who left with the signal would have left without it.
compared as (
    select
        found.funnel,
        found.customer_id,
        found.attempt,
        found.signal,
        found.detail,
        bool_or(
            drivers.q_value <= 0.05
            and least(drivers.odds_ratio, coalesce(drivers.odds_ratio_stratified, drivers.odds_ratio)) >= 2
        ) as is_distinctive
    from found
    inner join exits
        on found.funnel = exits.funnel
        and found.customer_id = exits.customer_id
        and found.attempt = exits.attempt
    inner join parts
        on found.funnel = parts.funnel
        and found.customer_id = parts.customer_id
        and found.attempt = parts.attempt
    inner join drivers
        on exits.funnel = drivers.funnel
        and exits.step_order = drivers.step_order
        and found.signal = drivers.signal
        and drivers.detail in ('all', found.detail)
        and drivers.candidate_kind = 'declared'
        and parts.segment_by = drivers.segment_by
        and parts.segment = drivers.segment
        and parts.period = drivers.period
    group by found.funnel, found.customer_id, found.attempt, found.signal, found.detail
),

-- Nothing guessed: what has no evidence says so, and names the event at which it ended.
complete as (
    select
        exits.funnel,
        exits.customer_id,
        exits.attempt,
        coalesce(found.reason, 'unknown') as reason,
        coalesce(found.signal, case when exits.is_next_known then 'no_evidence' else 'too_early' end) as signal,
        coalesce(found.detail, 'none') as detail,
        coalesce(found.event_ids, [exits.exit_event_id]) as event_ids,
        compared.is_distinctive,
        exits.step_order,
        exits.step,
        exits.exit_at
    from exits
    left join found
        on exits.funnel = found.funnel
        and exits.customer_id = found.customer_id
        and exits.attempt = found.attempt
    left join compared
        on exits.funnel = compared.funnel
        and exits.customer_id = compared.customer_id
        and exits.attempt = compared.attempt
        and found.signal = compared.signal
        and found.detail = compared.detail
),

ranked as (
    select
        complete.funnel,
        complete.customer_id,
        complete.attempt,
        complete.reason,
        row_number() over (
            partition by complete.funnel, complete.customer_id, complete.attempt
            order by
                coalesce(complete.is_distinctive, true) desc, reasons.reason_order, len(complete.event_ids) desc,
                complete.signal, complete.detail
        )::integer as evidence_rank,
        complete.event_ids,
        complete.signal,
        complete.detail,
        complete.step_order,
        complete.step,
        complete.exit_at,
        complete.is_distinctive
    from complete
    inner join reasons on complete.reason = reasons.reason
)

select * from ranked
