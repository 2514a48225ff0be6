-- Which journey each touchpoint belongs to, with its stage.
-- Grain: (event_key).

with

history as (select * from intermediate.touchpoint_history),

labels as (select * from taxonomy.touchpoint_labels),

stages as (select * from taxonomy.stages),

settings as (select * from taxonomy.journeys),

staged as (
    select
        history.customer_key,
        history.event_key,
        history.event_order,
        history.goals_before,
        stages.stage_order,
        -- An order that is told again leads to no next one.
        history.is_goal
        or (not history.is_repeated_order and coalesce(stages.moment in ('before', 'purchase'), false))
            as is_toward_next,
        epoch_us(history.occurred_at) - lag(epoch_us(history.occurred_at)) over customer_events
        > epoch_us(settings.idle_timeout) as is_after_silence,
        epoch_us(history.occurred_at) - epoch_us(history.last_goal_at)
        > epoch_us(settings.post_goal_period) as is_after_post_goal_period
    from history
    inner join labels on history.event_key = labels.event_key
    left join stages on labels.stage = stages.stage
    cross join settings
    window customer_events as (partition by history.customer_key order by history.event_order)
),

-- After a goal, the first touch toward the next one opens the next journey: a pre-purchase touch, another goal, silence,
-- or anything after the post-goal period. What experience, loyalty, engagement and advocacy touches come before it
-- belong to the journey that has reached its goal.
leavings as (
    select
        * exclude (is_toward_next, is_after_post_goal_period),
        goals_before > 0
        and (is_toward_next or coalesce(is_after_silence, false) or is_after_post_goal_period) as leaves_goal
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
                partition by customer_key, goals_before
                order by event_order
            ) = 1
        ) as opens_journey
    from leavings
),

numbered as (
    select
        event_key,
        event_order,
        stage_order,
        count(*) filter (where opens_journey) over so_far as journey_order,
        last_value(case when opens_journey then event_key end ignore nulls) over so_far as journey_key
    from openings
    window so_far as (
        partition by customer_key
        order by event_order
        rows between unbounded preceding and current row
    )
),

climbed as (
    select
        *,
        row_number() over journey_events as touchpoint_order,
        max(stage_order) over journey_events as furthest_stage_order,
        last_value(stage_order ignore nulls) over journey_events as current_stage_order
    from numbered
    window journey_events as (
        partition by journey_key
        order by event_order
        rows between unbounded preceding and current row
    )
),

journeys as (
    select
        climbed.event_key,
        history.customer_id,
        climbed.journey_key,
        climbed.journey_order,
        climbed.touchpoint_order,
        climbed.stage_order,
        climbed.furthest_stage_order,
        climbed.current_stage_order
    from climbed
    inner join history on climbed.event_key = history.event_key
)

select * from journeys
