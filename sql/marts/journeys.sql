-- One customer's touchpoints toward one goal, and how it ended.
-- Grain: (journey_id).

with

touchpoints as (select * from marts.touchpoints),

refunds as (select * from intermediate.journey_refunds),

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
        sum(revenue) filter (where is_goal and revenue > 0) as revenue,
        arg_min(currency, touchpoint_order) filter (where is_goal) as currency
    from touchpoints
    group by journey_id, customer_id, journey_order
),

-- A journey's money is of one currency: its goal's, else that of its first refund.
spent as (
    select
        refunds.*,
        coalesce(summed.currency, first_value(refunds.currency ignore nulls) over (
            partition by refunds.journey_id
            order by refunds.event_order
            rows between unbounded preceding and unbounded following
        )) as journey_currency
    from refunds
    inner join summed on refunds.journey_id = summed.journey_id
),

returned as (
    select
        journey_id,
        any_value(journey_currency) as currency,
        sum(amount) filter (where coalesce(currency, journey_currency) is not distinct from journey_currency) as refunds,
        map_from_entries(
            list(struct_pack(currency := currency, amount := -amount) order by currency)
            filter (where currency <> journey_currency)
        ) as other_revenues
    from spent
    group by journey_id
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
        coalesce(summed.currency, returned.currency) as currency,
        summed.sessions,
        epoch(summed.converted_at - summed.started_at) as seconds_to_goal,
        summed.started_at <= observation.observed_from + settings.idle_timeout as is_left_truncated,
        observation.as_of <= summed.open_until as is_right_truncated,
        summed.open_until,
        experiences.connected_experience,

        -- money
        coalesce(returned.refunds, 0)::decimal(38, 4) as refunds,
        (coalesce(summed.revenue, 0) - coalesce(returned.refunds, 0))::decimal(38, 4) as net_revenue,
        coalesce(returned.other_revenues, map {})::map(varchar, decimal(38, 4)) as other_revenues
    from bounded as summed
    left join returned on summed.journey_id = returned.journey_id
    inner join experiences on summed.journey_id = experiences.journey_id
    cross join observation
    cross join settings
    window customer_journeys as (partition by summed.customer_id order by summed.journey_order)
)

select * from journeys
