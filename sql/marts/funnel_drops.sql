-- Where customers leave: per funnel, segment and step, how many came, went on, left, or may still go on.
-- Grain: (funnel, segment_by, segment, step_order).

with

attempt_steps as (select * from intermediate.attempt_steps),

attempt_segments as (select * from intermediate.funnel_attempt_segments),

funnels as (select * from taxonomy.funnels),

funnel_steps as (select * from taxonomy.funnel_steps),

observation as (select * from staging.observation),

steps as (
    select
        funnel_steps.funnel,
        funnel_steps.step_order,
        funnel_steps.label as step,
        case when funnels.entry = 'every' then 'attempts' else 'customers' end as counts,
        case
            when funnels.matching = 'any' then funnel_steps.step_order < funnels.steps
            else
                funnel_steps.step_order
                < max(funnel_steps.step_order) filter (where not funnel_steps.is_optional) over (
                    partition by funnel_steps.funnel
                )
        end as can_be_left
    from funnel_steps
    inner join funnels on funnel_steps.funnel = funnels.funnel
),

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
        epoch_us(observation.as_of - attempt_steps.taken_at) as microseconds_observed,
        -- Maturity must not depend on the outcome. Converters close at once and leavers late: "not open" would count
        -- last week's converters and miss last week's leavers.
        coalesce(attempt_steps.entered_at + funnels.funnel_window < observation.as_of, false) as is_mature
    from attempt_steps
    inner join funnels on attempt_steps.funnel = funnels.funnel
    cross join observation
),

-- In the whole, and in each of its segments.
reached as (
    select
        followed.*,
        attempt_segments.segment_by,
        attempt_segments.segment
    from followed
    inner join attempt_segments
        on followed.funnel = attempt_segments.funnel
        and followed.customer_id = attempt_segments.customer_id
        and followed.attempt = attempt_segments.attempt
),

counted as (
    select
        funnel,
        segment_by,
        segment,
        step_order,
        count(outcome) as customers_reached,
        count(*) filter (where outcome = 'advanced') as customers_advanced,
        count(*) filter (where outcome = 'dropped') as customers_dropped,
        count(*) filter (where outcome = 'open') as customers_open,
        count(*) filter (where outcome = 'converted') as customers_converted,
        count(*) filter (where is_excluded_here) as customers_excluded,
        count(outcome) filter (where is_mature) as customers_reached_mature,
        count(*) filter (where outcome = 'dropped' and is_mature) as customers_dropped_mature,
        quantile_cont(seconds_from_previous_step, [0.5, 0.75, 0.9]) filter (where outcome is not null)
            as from_previous_step,
        quantile_cont(seconds_from_entry, [0.5, 0.75, 0.9]) filter (where outcome is not null) as from_entry
    from reached
    group by funnel, segment_by, segment, step_order
),

-- Kaplan and Meier (1958): the share that has not gone on, while open attempts count for as long as they were watched.
-- Who dropped never goes on, and so is at risk to the end: without open attempts all three rates are equal.
durations as (
    select
        funnel,
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
            partition by funnel, segment_by, segment, step_order
            order by duration desc
        ) as customers_at_risk
    from durations
),

survived as (
    select
        funnel,
        segment_by,
        segment,
        step_order,
        -- A product of floating numbers depends on its order.
        list_aggregate(list(1 - advancing / customers_at_risk order by duration), 'product') as drop_rate_kaplan_meier,
        arg_max(customers_at_risk, duration) filter (where advancing > 0) as customers_at_risk
    from at_risk
    group by funnel, segment_by, segment, step_order
),

-- A funnel that nobody has entered has its rows too.
parts as (
    select distinct funnel, segment_by, segment from attempt_segments
    union
    select funnel, 'all' as segment_by, 'all' as segment from funnels
),

rated as (
    select
        -- which
        parts.funnel,
        parts.segment_by,
        parts.segment,
        steps.step_order,
        steps.step,

        -- how many
        coalesce(counted.customers_reached, 0) as customers_reached,
        coalesce(counted.customers_dropped, 0) as customers_dropped,
        coalesce(counted.customers_open, 0) as customers_open,
        -- Nobody can leave after the last step: no rate, rather than a zero that looks like success.
        case
            when steps.can_be_left
                then counted.customers_dropped_mature / nullif(counted.customers_reached_mature, 0)
        end as drop_rate_mature,
        case
            when steps.can_be_left
                then (counted.customers_dropped + counted.customers_open) / nullif(counted.customers_reached, 0)
        end as drop_rate_naive,
        case when steps.can_be_left then survived.drop_rate_kaplan_meier end as drop_rate_kaplan_meier,
        case when steps.can_be_left then survived.customers_at_risk end::bigint as customers_at_risk,
        coalesce(counted.customers_advanced, 0) as customers_advanced,
        coalesce(counted.customers_converted, 0) as customers_converted,
        coalesce(counted.customers_excluded, 0) as customers_excluded,
        coalesce(counted.customers_reached_mature, 0) as customers_reached_mature,
        coalesce(counted.customers_dropped_mature, 0) as customers_dropped_mature,
        counted.customers_reached
        / nullif(first_value(counted.customers_reached) over steps_so_far, 0) as share_of_entered,
        steps.counts,

        -- how fast
        counted.from_previous_step[1] as seconds_from_previous_step_median,
        counted.from_previous_step[2] as seconds_from_previous_step_p75,
        counted.from_previous_step[3] as seconds_from_previous_step_p90,
        counted.from_entry[1] as seconds_from_entry_median,
        counted.from_entry[2] as seconds_from_entry_p75,
        counted.from_entry[3] as seconds_from_entry_p90
    from parts
    inner join steps on parts.funnel = steps.funnel
    left join counted
        on parts.funnel = counted.funnel
        and parts.segment_by = counted.segment_by
        and parts.segment = counted.segment
        and steps.step_order = counted.step_order
    left join survived
        on parts.funnel = survived.funnel
        and parts.segment_by = survived.segment_by
        and parts.segment = survived.segment
        and steps.step_order = survived.step_order
    window steps_so_far as (
        partition by parts.funnel, parts.segment_by, parts.segment
        order by steps.step_order
    )
)

select * from rated
