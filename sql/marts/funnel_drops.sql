-- Where customers leave: per funnel, segment and step, how many came, went on, left, or may still go on.
-- Grain: (funnel, segment_by, segment, step_order).

with

cells as (
    select * from intermediate.funnel_cells
    where period = 'all'
),

attempt_segments as (select * from intermediate.funnel_attempt_segments),

funnels as (select * from taxonomy.funnels),

funnel_steps as (select * from taxonomy.funnel_steps),

steps as (
    select
        funnel_steps.funnel,
        funnel_steps.step_order,
        funnel_steps.label as step,
        case when funnels.entry = 'every' then 'attempts' else 'customers' end as counts,
        funnel_steps.can_be_left
    from funnel_steps
    inner join funnels on funnel_steps.funnel = funnels.funnel
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
        case when steps.can_be_left then counted.drop_rate_kaplan_meier end as drop_rate_kaplan_meier,
        case when steps.can_be_left then counted.customers_at_risk end::bigint as customers_at_risk,
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
    left join cells as counted
        on parts.funnel = counted.funnel
        and parts.segment_by = counted.segment_by
        and parts.segment = counted.segment
        and steps.step_order = counted.step_order
    window steps_so_far as (
        partition by parts.funnel, parts.segment_by, parts.segment
        order by steps.step_order
    )
)

select * from rated
