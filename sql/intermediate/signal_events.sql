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
        row_number() over of_step as times,
        list(history.event_id) over last_three as last_three,
        step_matches.funnel,
        step_matches.step_order
    from step_matches
    inner join funnel_steps
        on step_matches.funnel = funnel_steps.funnel
        and step_matches.step_order = funnel_steps.step_order
    inner join history on step_matches.event_id = history.event_id
    inner join session_events on step_matches.event_id = session_events.event_id
    window
        of_step as (
            partition by session_events.session_id, step_matches.funnel, step_matches.step_order
            order by history.event_order
        ),
        last_three as (
            partition by session_events.session_id, step_matches.funnel, step_matches.step_order
            order by history.event_order
            rows between 2 preceding and current row
        )
),

repeated as (
    select
        event_id,
        customer_id,
        occurred_at,
        'repeated_step' as signal,
        step as detail,
        last_three as event_ids,
        funnel,
        step_order
    from steps
    where times >= 3
),

visits as (
    select
        history.event_id,
        history.customer_id,
        history.occurred_at,
        list(history.event_type) over last_four as last_types,
        list(history.event_id) over last_four as last_ids
    from history
    inner join session_events on history.event_id = session_events.event_id
    window last_four as (
        partition by session_events.session_id
        order by history.event_order
        rows between 3 preceding and current row
    )
),

-- There, back, and there and back again: A, B, A, B; one of the two is a step.
cycles as (
    select distinct
        visits.event_id,
        visits.customer_id,
        visits.occurred_at,
        'back_and_forth' as signal,
        least(last_types[3], last_types[4]) || ' / ' || greatest(last_types[3], last_types[4]) as detail,
        visits.last_ids as event_ids,
        step_matches.funnel,
        step_matches.step_order
    from visits
    cross join unnest(visits.last_ids[3:4]) as ends (event_id)
    inner join step_matches on ends.event_id = step_matches.event_id
    where last_types[1] = last_types[3] and last_types[2] = last_types[4] and last_types[3] <> last_types[4]
),

signalled as (
    select * from declared
    union all
    select * from repeated
    union all
    select * from cycles
)

select * from signalled
