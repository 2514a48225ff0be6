-- One visit: a customer's own touchpoints on one device without a long silence.
-- Grain: (session_id).

with

session_events as (select * from intermediate.session_events),

history as (select * from intermediate.touchpoint_history),

summed as (
    select
        session_events.customer_id,
        session_events.source_device,
        session_events.cut_cause,
        min(history.occurred_at) as started_at,
        max(history.occurred_at) as ended_at,
        count(*) as touchpoints,
        arg_min(history.event_id, history.event_order) as first_event_id,
        arg_min(history.channel, history.event_order) as first_channel,
        bool_or(history.is_goal) as is_converted
    from session_events
    inner join history on session_events.event_key = history.event_key
    group by
        session_events.session_key, session_events.customer_id, session_events.cut_cause, session_events.source_device
),

sessions as (
    select
        'session:' || first_event_id as session_id,
        customer_id,
        started_at,
        ended_at,
        touchpoints,
        cut_cause,
        source_device,
        first_channel,
        epoch(ended_at - started_at) as seconds_long,
        is_converted
    from summed
)

select * from sessions
