-- How many reached each step, went on, left, or may still go on: per segment, over all time and per period of entry.
-- Grain: (funnel, period, period_start, segment_by, segment, step_order).

with

attempt_steps as (select * from intermediate.attempt_steps),

attempt_segments as (select * from intermediate.funnel_attempt_segments),

attempt_periods as (select * from intermediate.attempt_periods),

funnels as (select * from taxonomy.funnels),

observation as (select * from staging.observation),

-- What followed each step that was reached. A drop or an open attempt stands on the last step that it reached.
followed as (
    select
        attempt_steps.funnel,
        attempt_steps.customer_id,
        attempt_steps.attempt,
        attempt_steps.step_order,
        case
            when attempt_steps.status = 'excluded' then null
            when attempt_steps.furthest_step > attempt_steps.step_order then 'advanced'
            else attempt_steps.status
        end as outcome,
        attempt_steps.status = 'excluded' and attempt_steps.furthest_step = attempt_steps.step_order
            as is_excluded_here,
        -- Ties that are tolerated may run backward: no time, rather than less than none.
        case
            when attempt_steps.left_at is not null
                then greatest(0, epoch(attempt_steps.taken_at - attempt_steps.left_at))
        end as seconds_from_previous_step,
        greatest(0, epoch(attempt_steps.taken_at - attempt_steps.entered_at)) as seconds_from_entry,
        greatest(0, epoch_us(attempt_steps.next_taken_at - attempt_steps.taken_at)) as microseconds_to_next_step,
        -- An event that is dated after its landing lies ahead of `as_of`.
        greatest(0, epoch_us(observation.as_of - attempt_steps.taken_at)) as microseconds_observed,
        -- Maturity must not depend on the outcome. Converters close at once and leavers late: "not open" would count
        -- last week's converters and miss last week's leavers.
        coalesce(attempt_steps.entered_at + funnels.funnel_window < observation.as_of, false) as is_mature
    from attempt_steps
    inner join funnels on attempt_steps.funnel = funnels.funnel
    cross join observation
),

-- In the whole and in each of its segments, over all time and in each period.
reached as (
    select
        followed.*,
        attempt_segments.segment_by,
        attempt_segments.segment,
        attempt_periods.period,
        attempt_periods.period_start,
        attempt_periods.period_end
    from followed
    inner join attempt_segments
        on followed.funnel = attempt_segments.funnel
        and followed.customer_id = attempt_segments.customer_id
        and followed.attempt = attempt_segments.attempt
    inner join attempt_periods
        on followed.funnel = attempt_periods.funnel
        and followed.customer_id = attempt_periods.customer_id
        and followed.attempt = attempt_periods.attempt
),

counted as (
    select
        funnel,
        period,
        period_start,
        segment_by,
        segment,
        step_order,
        any_value(period_end) as period_end,
        count(outcome) as customers_reached,
        count(*) filter (where outcome = 'advanced') as customers_advanced,
        count(*) filter (where outcome = 'dropped') as customers_dropped,
        count(*) filter (where outcome = 'open') as customers_open,
        count(*) filter (where outcome = 'converted') as customers_converted,
        count(*) filter (where is_excluded_here) as customers_excluded,
        count(outcome) filter (where is_mature) as customers_reached_mature,
        count(*) filter (where outcome = 'dropped' and is_mature) as customers_dropped_mature,
        quantile_cont(seconds_from_previous_step, [0.5, 0.75, 0.9]) filter (where outcome is not null and period = 'all')
            as from_previous_step,
        quantile_cont(seconds_from_entry, [0.5, 0.75, 0.9]) filter (where outcome is not null and period = 'all')
            as from_entry
    from reached
    group by funnel, period, period_start, segment_by, segment, step_order
),

-- Kaplan and Meier (1958): the share that has not gone on, while open attempts count for as long as they were watched.
-- Who dropped never goes on, and so is at risk to the end: without open attempts all three rates are equal.
durations as (
    select
        funnel,
        period,
        period_start,
        segment_by,
        segment,
        step_order,
        case outcome
            when 'advanced' then microseconds_to_next_step
            when 'converted' then 0
            when 'open' then microseconds_observed
            else 9223372036854775807
        end as duration,
        count(*) as leaving,
        count(*) filter (where outcome in ('advanced', 'converted')) as advancing
    from reached
    where outcome is not null
    group by all
),

at_risk as (
    select
        *,
        sum(leaving) over (
            partition by funnel, period, period_start, segment_by, segment, step_order
            order by duration desc
        ) as customers_at_risk
    from durations
),

survived as (
    select
        funnel,
        period,
        period_start,
        segment_by,
        segment,
        step_order,
        -- A product of floating numbers depends on its order.
        list_aggregate(list(1 - advancing / customers_at_risk order by duration), 'product') as drop_rate_kaplan_meier,
        arg_max(customers_at_risk, duration) filter (where advancing > 0) as customers_at_risk
    from at_risk
    group by funnel, period, period_start, segment_by, segment, step_order
),

cells as (
    select counted.*, survived.drop_rate_kaplan_meier, survived.customers_at_risk
    from counted
    left join survived
        on counted.funnel = survived.funnel
        and counted.period = survived.period
        and counted.period_start is not distinct from survived.period_start
        and counted.segment_by = survived.segment_by
        and counted.segment = survived.segment
        and counted.step_order = survived.step_order
)

select * from cells
