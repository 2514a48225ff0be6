-- Where customers leave: per funnel, segment and step, how many came, went on, left, or may still go on.
-- Grain: (funnel, segment_by, segment, step_order).

with

attempts as (select * from marts.funnel_attempts),

attempt_segments as (select * from intermediate.funnel_attempt_segments),

funnel_steps as (select * from taxonomy.funnel_steps),

segmented as (
    select
        attempt_segments.segment_by,
        attempt_segments.segment,
        attempts.*
    from attempts
    inner join attempt_segments
        on attempts.funnel = attempt_segments.funnel
        and attempts.customer_id = attempt_segments.customer_id
        and attempts.attempt = attempt_segments.attempt
),

-- A drop or an open attempt stands on the row of the last step that it reached.
counted as (
    select
        segmented.funnel,
        segmented.segment_by,
        segmented.segment,
        funnel_steps.step_order,
        funnel_steps.step,
        funnel_steps.steps,
        count(*) filter (where segmented.furthest_step >= funnel_steps.step_order) as customers_reached,
        count(*) filter (where segmented.furthest_step > funnel_steps.step_order) as customers_advanced,
        count(*) filter (
            where segmented.furthest_step = funnel_steps.step_order and segmented.status = 'dropped'
        ) as customers_dropped,
        count(*) filter (
            where segmented.furthest_step = funnel_steps.step_order and segmented.status = 'open'
        ) as customers_open,
        count(*) filter (
            where segmented.furthest_step >= funnel_steps.step_order and segmented.status <> 'open'
        ) as customers_reached_mature,
        quantile_cont(
            epoch(segmented.step_times[funnel_steps.step_order] - segmented.step_times[funnel_steps.step_order - 1]),
            [0.5, 0.75, 0.9]
        ) as seconds_from_previous_step
    from segmented
    inner join funnel_steps on segmented.funnel = funnel_steps.funnel
    group by segmented.funnel, segmented.segment_by, segmented.segment, funnel_steps.step_order, funnel_steps.step,
        funnel_steps.steps
),

rated as (
    select
        -- which
        funnel,
        segment_by,
        segment,
        step_order,
        step,

        -- how many
        customers_reached,
        customers_dropped,
        customers_open,
        -- Nobody can leave after the last step: no rate, rather than a zero that looks like success.
        case when step_order < steps then customers_dropped / nullif(customers_reached_mature, 0) end as drop_rate_mature,
        case
            when step_order < steps then (customers_reached - customers_advanced) / nullif(customers_reached, 0)
        end as drop_rate_naive,
        customers_advanced,
        customers_reached_mature,
        customers_reached / first_value(customers_reached) over steps_so_far as share_of_entered,

        -- how fast
        seconds_from_previous_step[1] as seconds_from_previous_step_median,
        seconds_from_previous_step[2] as seconds_from_previous_step_p75,
        seconds_from_previous_step[3] as seconds_from_previous_step_p90
    from counted
    window steps_so_far as (partition by funnel, segment_by, segment order by step_order)
)

select * from rated
