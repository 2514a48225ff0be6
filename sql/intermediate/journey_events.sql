-- Which journey each touchpoint belongs to, with its stage.
-- Grain: (event_id).

with

history as (select * from intermediate.touchpoint_history),

touchpoint_stages as (select * from taxonomy.touchpoint_stages),

stages as (select * from taxonomy.stages),

settings as (select * from taxonomy.journeys),

staged as (
    select
        history.event_id,
        history.customer_id,
        history.event_order,
        history.occurred_at,
        history.is_goal,
        history.prior_goals,
        touchpoint_stages.stage,
        stages.stage_order,
        stages.moment,
        stages.phase,
        history.occurred_at - lag(history.occurred_at) over customer_events > settings.idle_timeout as is_after_silence,
        history.occurred_at > history.last_goal_at + settings.post_goal_period as is_after_post_goal_period
    from history
    inner join touchpoint_stages on history.event_id = touchpoint_stages.event_id
    left join stages on touchpoint_stages.stage = stages.stage
    cross join settings
    window customer_events as (partition by history.customer_id order by history.event_order)
),

-- After a goal, the first touch toward the next one opens the next journey: a pre-purchase touch, another goal, silence,
-- or anything after the post-goal period. What experience, loyalty, engagement and advocacy touches come before it
-- belong to the journey that has reached its goal.
leavings as (
    select
        *,
        prior_goals > 0
        and (
            is_goal
            or coalesce(moment = 'before', false)
            or coalesce(moment = 'purchase', false)
            or coalesce(is_after_silence, false)
            or is_after_post_goal_period
        ) as leaves_goal
    from staged
),

-- Between one goal and the next, only the first such touch finds a journey that has its goal already.
openings as (
    select
        *,
        coalesce(is_after_silence, true)
        or (
            leaves_goal
            and count(*) filter (where leaves_goal) over (
                partition by customer_id, prior_goals
                order by event_order
            ) = 1
        ) as opens_journey
    from leavings
),

numbered as (
    select
        *,
        count(*) filter (where opens_journey) over (partition by customer_id order by event_order) as journey_order
    from openings
),

journeys as (
    select
        event_id,
        customer_id,
        event_order,
        occurred_at,
        is_goal,
        stage,
        stage_order,
        moment,
        phase,
        journey_order,
        'journey:' || first_value(event_id) over journey_events as journey_id,
        row_number() over journey_events as touchpoint_order,
        max(stage_order) over journey_events as furthest_stage_order,
        coalesce(
            last_value(case when stage <> 'unlabelled' then stage end ignore nulls) over journey_events, 'unlabelled'
        ) as current_stage
    from numbered
    window journey_events as (
        partition by customer_id, journey_order
        order by event_order
        rows between unbounded preceding and current row
    )
)

select * from journeys
