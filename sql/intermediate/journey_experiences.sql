-- Which connected-experience strategy each journey shows; the first that holds, or none.
-- Grain: (journey_id).

with

journey_events as (select * from intermediate.journey_events),

history as (select * from intermediate.touchpoint_history),

labels as (select * from taxonomy.touchpoint_labels),

stages as (select * from taxonomy.stages),

touches as (
    select
        journey_events.journey_key,
        journey_events.customer_id,
        history.event_id,
        journey_events.touchpoint_order,
        case when not history.is_repeated_order then stages.phase end as phase,
        history.is_goal,
        coalesce(stages.stage = 'selection', false) or history.is_goal as is_choice,
        history.initiator,
        labels.is_guidance,
        labels.is_desire
    from journey_events
    inner join history on journey_events.event_key = history.event_key
    inner join labels on journey_events.event_key = labels.event_key
    left join stages on journey_events.stage_order = stages.stage_order
),

-- Where in the journey each sign stands first; null where it is missing.
signs as (
    select
        customer_id,
        'journey:' || arg_min(event_id, touchpoint_order) as journey_id,
        min(touchpoint_order) filter (where is_goal) as goal_at,
        bool_or(is_goal and initiator = 'company') as is_company_goal,
        min(touchpoint_order) filter (where is_choice) as choice_at,
        min(touchpoint_order) filter (where is_guidance) as guidance_at,
        min(touchpoint_order) filter (where is_desire and initiator = 'customer') as desire_at,
        min(touchpoint_order) filter (where phase = 'recognize' and initiator = 'company') as nudge_at,
        max(touchpoint_order) filter (where phase = 'request' and initiator = 'customer') as last_request_at
    from touches
    group by journey_key, customer_id
),

experiences as (
    select
        journey_id,
        customer_id,
        case
            when is_company_goal and last_request_at is null then 'automatic_execution'
            when nudge_at < last_request_at then 'coach_behavior'
            when guidance_at < choice_at then 'curated_offering'
            when desire_at < goal_at then 'respond_to_desire'
            else 'unlabelled'
        end as connected_experience
    from signs
)

select * from experiences
