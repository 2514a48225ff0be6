-- One customer's touchpoints toward one goal, and how it ended.
-- Grain: (journey_id).

with

touchpoints as (select * from marts.touchpoints),

experiences as (select * from intermediate.journey_experiences),

observation as (select * from staging.observation),

settings as (select * from taxonomy.journeys),

summed as (
    select
        journey_id,
        customer_id,
        journey_order,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        min(occurred_at) filter (where is_goal) as converted_at,
        arg_min(channel, touchpoint_order) as first_channel,
        arg_max(channel, touchpoint_order) as last_channel,
        arg_max(furthest_stage, touchpoint_order) as furthest_stage,
        arg_max(current_stage, touchpoint_order) as current_stage,
        count(*) as touchpoints,
        count(distinct session_id) as sessions,
        sum(revenue) filter (where is_goal) as revenue,
        arg_min(currency, touchpoint_order) filter (where is_goal) as currency
    from touchpoints
    group by journey_id, customer_id, journey_order
),

-- Until when a later touchpoint could belong to it: by silence, and after the goal within the post-goal period.
bounded as (
    select
        summed.*,
        least(
            summed.ended_at + settings.idle_timeout,
            coalesce(summed.converted_at + settings.post_goal_period, 'infinity'::timestamptz)
        ) as open_until
    from summed
    cross join settings
),

journeys as (
    select
        -- ids
        summed.journey_id,
        summed.customer_id,

        -- how it ended; what may still go on is open, never abandoned
        case
            when summed.converted_at is not null then 'converted'
            when summed.open_until < observation.as_of then 'abandoned'
            else 'open'
        end as status,
        summed.started_at,
        summed.ended_at,
        summed.first_channel,
        summed.last_channel,
        summed.furthest_stage,
        summed.touchpoints,
        coalesce(summed.revenue, 0) as revenue,
        lag(summed.journey_id) over customer_journeys as previous_journey_id,

        -- more of it
        summed.journey_order,
        summed.current_stage,
        summed.converted_at,
        summed.currency,
        summed.sessions,
        epoch(summed.converted_at - summed.started_at) as seconds_to_goal,
        summed.started_at <= observation.observed_from + settings.idle_timeout as is_left_truncated,
        observation.as_of <= summed.open_until as is_right_truncated,
        summed.open_until,
        experiences.connected_experience
    from bounded as summed
    inner join experiences on summed.journey_id = experiences.journey_id
    cross join observation
    cross join settings
    window customer_journeys as (partition by summed.customer_id order by summed.journey_order)
)

select * from journeys
