-- What may stand behind a drop: failures, stated reasons, friction and prices, as events show them.
-- Grain: (event_id, signal).

with

history as (select * from intermediate.touchpoint_history),

session_events as (select * from intermediate.session_events),

signal_matches as (select * from taxonomy.signal_matches),

signals as (select * from taxonomy.signals),

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
        [history.event_type] as event_types
    from signal_matches
    inner join signals on signal_matches.signal = signals.signal
    inner join history on signal_matches.event_id = history.event_id
),

visits as (
    select
        history.event_id,
        history.customer_id,
        history.occurred_at,
        history.event_type,
        row_number() over same_kind as times,
        list(history.event_id) over last_three_of_kind as last_three,
        list(history.event_type) over last_four as last_types,
        list(history.event_id) over last_four as last_ids
    from history
    inner join session_events on history.event_id = session_events.event_id
    window
        same_kind as (partition by session_events.session_id, history.event_type order by history.event_order),
        last_three_of_kind as (
            partition by session_events.session_id, history.event_type
            order by history.event_order
            rows between 2 preceding and current row
        ),
        last_four as (
            partition by session_events.session_id
            order by history.event_order
            rows between 3 preceding and current row
        )
),

-- The same thing for the third time in one visit, and each time after it.
repeated as (
    select
        event_id,
        customer_id,
        occurred_at,
        'repeated_step' as signal,
        event_type as detail,
        last_three as event_ids,
        [event_type] as event_types
    from visits
    where times >= 3
),

-- There, back, and there and back again: A, B, A, B.
cycles as (
    select
        event_id,
        customer_id,
        occurred_at,
        'back_and_forth' as signal,
        least(last_types[3], last_types[4]) || ' / ' || greatest(last_types[3], last_types[4]) as detail,
        last_ids as event_ids,
        last_types[3:4] as event_types
    from visits
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
