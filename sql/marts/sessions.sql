-- One visit: a customer's own touchpoints on one device without a long silence.
-- Grain: (session_id).

with

session_events as (select * from intermediate.session_events),

touchpoints as (select * from marts.touchpoints),

sessions as (
    select
        session_events.session_id,
        session_events.customer_id,
        min(touchpoints.occurred_at) as started_at,
        max(touchpoints.occurred_at) as ended_at,
        count(*) as touchpoints,
        session_events.cut_cause,
        session_events.source_device,
        arg_min(touchpoints.channel, (touchpoints.occurred_at, touchpoints.touchpoint_order)) as first_channel,
        epoch(max(touchpoints.occurred_at) - min(touchpoints.occurred_at)) as seconds_long,
        bool_or(touchpoints.is_goal) as is_converted
    from session_events
    inner join touchpoints on session_events.event_id = touchpoints.event_id
    group by
        session_events.session_id, session_events.customer_id, session_events.cut_cause, session_events.source_device
)

select * from sessions
