-- Why each dropped attempt was left: every piece of evidence, the primary one first, or `unknown`.
-- Grain: (funnel, customer_id, attempt, evidence_rank).

with

exits as (select * from marts.funnel_exits),

attempt_steps as (select * from intermediate.attempt_steps),

evidence as (select * from intermediate.drop_evidence),

reasons as (select * from taxonomy.reasons),

funnels as (select * from taxonomy.funnels),

-- How long the way to each step takes; in any order there is no way from one step to the next.
ways as (
    select attempt_steps.*
    from attempt_steps
    inner join funnels on attempt_steps.funnel = funnels.funnel
    where funnels.matching <> 'any' and attempt_steps.status <> 'excluded' and attempt_steps.step_order > 1
),

paces as (
    select
        funnel,
        step_order,
        quantile_cont(epoch(taken_at - left_at), 0.95) as slow_seconds
    from ways
    group by funnel, step_order
    having count(*) >= 20
),

slow as (
    select
        ways.funnel,
        ways.customer_id,
        ways.attempt,
        'friction' as reason,
        'slow_step' as signal,
        'none' as detail,
        [ways.left_event_id, ways.event_id] as event_ids
    from ways
    inner join paces on ways.funnel = paces.funnel and ways.step_order = paces.step_order
    where
        ways.status = 'dropped'
        and ways.step_order = ways.furthest_step
        and epoch(ways.taken_at - ways.left_at) > paces.slow_seconds
),

found as (
    select * from evidence
    union all
    select * from slow
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
        exits.step_order,
        exits.step,
        exits.exit_at
    from exits
    left join found
        on exits.funnel = found.funnel
        and exits.customer_id = found.customer_id
        and exits.attempt = found.attempt
),

ranked as (
    select
        complete.funnel,
        complete.customer_id,
        complete.attempt,
        complete.reason,
        row_number() over (
            partition by complete.funnel, complete.customer_id, complete.attempt
            order by reasons.reason_order, len(complete.event_ids) desc, complete.signal, complete.detail
        )::integer as evidence_rank,
        complete.event_ids,
        complete.signal,
        complete.detail,
        complete.step_order,
        complete.step,
        complete.exit_at
    from complete
    inner join reasons on complete.reason = reasons.reason
)

select * from ranked
