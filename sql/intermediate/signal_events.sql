-- What may stand behind a drop: failures, stated reasons, friction and prices, as events show them.
-- Grain: (event_id, signal, funnel, step_order).

with

history as (select * from intermediate.touchpoint_history),

session_events as (select * from intermediate.session_events),

signal_matches as (select * from taxonomy.signal_matches),

signals as (select * from taxonomy.signals),

step_matches as (select * from taxonomy.step_matches),

funnel_steps as (select * from taxonomy.funnel_steps),

declared as (
    select
        history.event_id,
        history.customer_id,
        history.occurred_at,
        signals.signal,
        concat_ws(
            ': ',
            history.event_type,
            coalesce(
                history.error_code, history.support_topic, history.properties ->> '$.reason', history.survey_kind
            )
        ) as detail,
        [history.event_id] as event_ids,
        null::varchar as funnel,
        null::integer as step_order
    from signal_matches
    inner join signals on signal_matches.signal = signals.signal
    inner join history on signal_matches.event_id = history.event_id
),

-- The same step for the third time in one visit, and each time after it.
steps as (
    select
        history.event_id,
        history.customer_id,
        history.occurred_at,
        funnel_steps.step,
        lag(history.event_id) over of_step as second_last,
        lag(history.event_id, 2) over of_step as third_last,
        step_matches.funnel,
        step_matches.step_order
    from step_matches
    inner join funnel_steps
        on step_matches.funnel = funnel_steps.funnel
        and step_matches.step_order = funnel_steps.step_order
    inner join history on step_matches.event_id = history.event_id
    inner join session_events on step_matches.event_id = session_events.event_id
    window of_step as (
        partition by session_events.session_id, step_matches.funnel, step_matches.step_order
        order by history.event_order
    )
),

repeated as (
    select
        event_id,
        customer_id,
        occurred_at,
        'repeated_step' as signal,
        step as detail,
        [third_last, second_last, event_id] as event_ids,
        funnel,
        step_order
    from steps
    where third_last is not null
),

visits as (
    select
        history.event_id,
        history.customer_id,
        history.occurred_at,
        history.event_type,
        lag(history.event_type) over of_visit as back_type,
        lag(history.event_type, 2) over of_visit as forth_type,
        lag(history.event_type, 3) over of_visit as first_type,
        lag(history.event_id) over of_visit as back_id,
        lag(history.event_id, 2) over of_visit as forth_id,
        lag(history.event_id, 3) over of_visit as first_id
    from history
    inner join session_events on history.event_id = session_events.event_id
    window of_visit as (partition by session_events.session_id order by history.event_order)
),

-- There, back, and there and back again: A, B, A, B.
rounds as (
    select
        *,
        unnest([back_id, event_id]) as end_event_id
    from visits
    where first_type = back_type and forth_type = event_type and back_type <> event_type
),

-- One of the two is a step.
cycles as (
    select distinct
        rounds.event_id,
        rounds.customer_id,
        rounds.occurred_at,
        'back_and_forth' as signal,
        least(rounds.back_type, rounds.event_type) || ' / ' || greatest(rounds.back_type, rounds.event_type) as detail,
        [rounds.first_id, rounds.forth_id, rounds.back_id, rounds.event_id] as event_ids,
        step_matches.funnel,
        step_matches.step_order
    from rounds
    inner join step_matches on rounds.end_event_id = step_matches.event_id
),

signalled as (
    select * from declared
    union all
    select * from repeated
    union all
    select * from cycles
)

select * from signalled
