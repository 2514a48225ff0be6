-- Each change of stage inside a journey, forward or back, and how long the stage before it lasted.
-- Grain: (journey_id, transition_order).

with

journey_events as (select * from intermediate.journey_events),

history as (select * from intermediate.touchpoint_history),

journey_starts as (select event_key, event_id from intermediate.touchpoint_history),

stages as (select * from taxonomy.stages),

touches as (
    select
        journey_key,
        event_key,
        touchpoint_order,
        stage_order,
        lag(stage_order) over journey_touchpoints as order_before
    from journey_events
    window journey_touchpoints as (partition by journey_key order by touchpoint_order)
),

changes as (
    select
        touches.*,
        history.customer_id,
        history.event_id,
        history.occurred_at
    from touches
    inner join history on touches.event_key = history.event_key
    where touches.touchpoint_order = 1 or touches.stage_order is distinct from touches.order_before
),

-- The first touch opens a stage, and changes none.
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
        coalesce(from_stages.stage, 'unlabelled') as from_stage,
        coalesce(to_stages.stage, 'unlabelled') as to_stage,
        stays.occurred_at,
        epoch(stays.occurred_at - stays.entered_at) as seconds_in_stage,
        stays.transition_order,
        coalesce(stays.stage_order < stays.order_before, false) as is_regression,
        stays.customer_id,
        stays.event_id
    from stays
    inner join journey_starts on stays.journey_key = journey_starts.event_key
    left join stages as from_stages on stays.order_before = from_stages.stage_order
    left join stages as to_stages on stays.stage_order = to_stages.stage_order
    where stays.transition_order > 0
)

select * from transitions
