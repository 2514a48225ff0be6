-- Each change of stage inside a journey, forward or back, and how long the stage before it lasted.
-- Grain: (journey_id, transition_order).

with

touchpoints as (select * from marts.touchpoints),

stages as (select * from taxonomy.stages),

changes as (
    select
        journey_id,
        customer_id,
        event_id,
        occurred_at,
        touchpoint_order,
        stage,
        lag(stage) over journey_touchpoints as stage_before
    from touchpoints
    window journey_touchpoints as (partition by journey_id order by touchpoint_order)
),

stays as (
    select
        *,
        lag(occurred_at) over journey_changes as entered_at
    from changes
    where stage_before is null or stage <> stage_before
    window journey_changes as (partition by journey_id order by touchpoint_order)
),

transitions as (
    select
        stays.journey_id,
        stays.stage_before as from_stage,
        stays.stage as to_stage,
        stays.occurred_at,
        epoch(stays.occurred_at - stays.entered_at) as seconds_in_stage,
        row_number() over (partition by stays.journey_id order by stays.touchpoint_order) as transition_order,
        coalesce(to_stages.stage_order < from_stages.stage_order, false) as is_regression,
        stays.customer_id,
        stays.event_id
    from stays
    left join stages as from_stages on stays.stage_before = from_stages.stage
    left join stages as to_stages on stays.stage = to_stages.stage
    where stays.stage_before is not null
)

select * from transitions
