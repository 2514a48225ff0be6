-- Each signal in each exposure: declared, another type of event, a property; the exposure itself is the kind `all`.
-- Grain: (funnel, customer_id, attempt, step_order, candidate_kind, signal, detail).

with

exposures as (select * from intermediate.step_exposures),

signal_events as (select * from intermediate.signal_events),

signal_matches as (select distinct event_key from taxonomy.signal_matches),

history as (select * from intermediate.touchpoint_history),

step_matches as (select * from taxonomy.step_matches),

funnel_steps as (select * from taxonomy.funnel_steps),

candidate_values as (select * from taxonomy.candidate_values),

own_steps as (
    select distinct funnel_steps.funnel, step_matches.event_key
    from step_matches
    inner join funnel_steps on step_matches.predicate = funnel_steps.predicate
),

-- Attempts that run beside each other, one per value that a funnel holds constant, may see the same touches.
spans as (
    select distinct funnel, customer_id, exposed_from, taken_at, exposed_until
    from exposures
),

-- A funnel's own steps tell nothing: who goes on takes the next one.
seen as (
    select
        spans.*,
        history.event_type,
        count(*) as touches,
        count(*) filter (where history.occurred_at >= spans.taken_at) as touches_after,
        count(*) filter (where history.occurred_at >= spans.taken_at and signal_matches.event_key is null)
            as undeclared_after
    from spans
    inner join history
        on spans.customer_id = history.customer_id
        and spans.exposed_from <= history.occurred_at
        and spans.exposed_until >= history.occurred_at
    left join own_steps on spans.funnel = own_steps.funnel and history.event_key = own_steps.event_key
    left join signal_matches on history.event_key = signal_matches.event_key
    where own_steps.event_key is null
    group by all
),

touches as (
    select
        exposures.funnel,
        exposures.customer_id,
        exposures.attempt,
        exposures.step_order,
        exposures.is_dropped,
        seen.event_type,
        seen.touches,
        seen.touches_after,
        seen.undeclared_after
    from exposures
    inner join seen
        on exposures.funnel = seen.funnel
        and exposures.customer_id = seen.customer_id
        and exposures.exposed_from = seen.exposed_from
        and exposures.taken_at = seen.taken_at
        and exposures.exposed_until = seen.exposed_until
),

sides as (
    select
        funnel,
        step_order,
        count(*) filter (where is_dropped) as dropped,
        count(*) filter (where not is_dropped) as advanced
    from exposures
    group by funnel, step_order
),

-- What one side sees ten times as often as the other one after the step, as `payment_authorised`, is the outcome itself.
-- It does not make a visit long: visits that end well would only be compared with one another.
outcomes as (
    select touches.funnel, touches.step_order, touches.event_type
    from touches
    inner join sides on touches.funnel = sides.funnel and touches.step_order = sides.step_order
    where touches.touches_after > 0
    group by touches.funnel, touches.step_order, touches.event_type, sides.dropped, sides.advanced
    having
        count(*) filter (where touches.is_dropped) * sides.advanced * 10
        < count(*) filter (where not touches.is_dropped) * sides.dropped
        or count(*) filter (where not touches.is_dropped) * sides.dropped * 10
        < count(*) filter (where touches.is_dropped) * sides.advanced
),

lengths as (
    select
        touches.funnel,
        touches.customer_id,
        touches.attempt,
        touches.step_order,
        sum(touches.touches) as touches
    from touches
    anti join outcomes
        on touches.funnel = outcomes.funnel
        and touches.step_order = outcomes.step_order
        and touches.event_type = outcomes.event_type
    group by all
),

declared as (
    select
        exposures.funnel,
        exposures.customer_id,
        exposures.attempt,
        exposures.step_order,
        signal_events.signal,
        signal_events.detail,
        unnest(signal_events.event_keys) as event_key
    from exposures
    inner join signal_events
        on exposures.customer_id = signal_events.customer_id
        and exposures.exposed_from <= signal_events.occurred_at
        and exposures.exposed_until >= signal_events.occurred_at
    -- A pattern is one of a step.
    where
        signal_events.funnel is null
        or (exposures.funnel = signal_events.funnel and exposures.declared_step = signal_events.step_order)
),

-- Each signal as a whole too, where it has details.
detailed as (
    select funnel, step_order, signal
    from declared
    group by funnel, step_order, signal
    having count(distinct detail) > 1
),

wholes as (
    select declared.* replace ('all' as detail)
    from declared
    inner join detailed
        on declared.funnel = detailed.funnel
        and declared.step_order = detailed.step_order
        and declared.signal = detailed.signal
),

all_declared as (
    select * from declared
    union all
    select * from wholes
),

shown as (
    select
        declared.funnel,
        declared.customer_id,
        declared.attempt,
        declared.step_order,
        'declared' as candidate_kind,
        declared.signal,
        declared.detail,
        count(distinct declared.event_key) filter (
            where own_steps.event_key is null and outcomes.event_type is null
        ) as own_touches
    from all_declared as declared
    inner join history on declared.event_key = history.event_key
    left join own_steps on declared.funnel = own_steps.funnel and declared.event_key = own_steps.event_key
    left join outcomes
        on declared.funnel = outcomes.funnel
        and declared.step_order = outcomes.step_order
        and history.event_type = outcomes.event_type
    group by all
),

found as (
    select * from shown
    union all
    select
        funnel,
        customer_id,
        attempt,
        step_order,
        'declared' as candidate_kind,
        'slow_step' as signal,
        'none' as detail,
        0 as own_touches
    from exposures
    where is_slow
    union all
    select
        touches.funnel,
        touches.customer_id,
        touches.attempt,
        touches.step_order,
        'event' as candidate_kind,
        touches.event_type as signal,
        'none' as detail,
        case when outcomes.event_type is null then touches.touches else 0 end as own_touches
    from touches
    left join outcomes
        on touches.funnel = outcomes.funnel
        and touches.step_order = outcomes.step_order
        and touches.event_type = outcomes.event_type
    where touches.undeclared_after > 0
    union all
    select
        exposures.funnel,
        exposures.customer_id,
        exposures.attempt,
        exposures.step_order,
        'property' as candidate_kind,
        candidate_values.candidate as signal,
        candidate_values.value as detail,
        0 as own_touches
    from exposures
    inner join candidate_values on exposures.event_id = candidate_values.event_id
    union all
    select
        funnel,
        customer_id,
        attempt,
        step_order,
        'all' as candidate_kind,
        'all' as signal,
        'all' as detail,
        0 as own_touches
    from exposures
),

-- What hardly anybody has seen stands behind no change.
supported as (
    select funnel, step_order, candidate_kind, signal, detail
    from found
    group by all
    having count(distinct customer_id) >= 5 or candidate_kind = 'all'
),

signals as (
    select
        found.*,
        coalesce(lengths.touches, 0) as touches
    from found
    inner join supported
        on found.funnel = supported.funnel
        and found.step_order = supported.step_order
        and found.candidate_kind = supported.candidate_kind
        and found.signal = supported.signal
        and found.detail = supported.detail
    left join lengths
        on found.funnel = lengths.funnel
        and found.customer_id = lengths.customer_id
        and found.attempt = lengths.attempt
        and found.step_order = lengths.step_order
)

select * from signals
