-- Each change of stage inside a journey, from one labelled touchpoint to the next, and how long the stage before it lasted.
-- Grain: (journey_id, transition_order).

with

journey_events as (select * from intermediate.journey_events),

history as (select * from intermediate.touchpoint_history),

journey_starts as (select event_key, event_id from intermediate.touchpoint_history),

stages as (select * from taxonomy.stages),

-- What no rule labels is no stage, and an order told again is no step back to it: neither comes between two stages.
touches as (
    select
        journey_events.journey_key,
        journey_events.touchpoint_order,
        journey_events.stage_order,
        lag(journey_events.stage_order) over labelled as order_before,
        history.customer_id,
        history.event_id,
        history.occurred_at
    from journey_events
    inner join history on journey_events.event_key = history.event_key
    where journey_events.stage_order is not null and not history.is_repeated_order
    window labelled as (partition by journey_events.journey_key order by journey_events.touchpoint_order)
),

changes as (
    select *
    from touches
    where order_before is null or stage_order <> order_before
),

-- The first labelled touch opens a stage, and changes none.
stays as (
    select
        *,
        lag(occurred_at) over journey_changes as entered_at,
        row_number() over journey_changes - 1 as transition_order
    from changes
    window journey_changes as (partition by journey_key order by touchpoint_order)
),

transitions as (
    select
        'journey:' || journey_starts.event_id as journey_id,
        from_stages.stage as from_stage,
        to_stages.stage as to_stage,
        stays.occurred_at,
        epoch(stays.occurred_at - stays.entered_at) as seconds_in_stage,
        stays.transition_order,
        stays.stage_order < stays.order_before as is_regression,
        stays.customer_id,
        stays.event_id
    from stays
    inner join journey_starts on stays.journey_key = journey_starts.event_key
    inner join stages as from_stages on stays.order_before = from_stages.stage_order
    inner join stages as to_stages on stays.stage_order = to_stages.stage_order
    where stays.transition_order > 0
)

select * from transitions
