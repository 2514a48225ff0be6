-- What hurts, where, and whom: per step and segment the primary reasons of drops, what is at stake and which way it goes.
-- Grain: (funnel, segment_by, segment, step_order, signal).

with

drop_reasons as (select * from marts.drop_reasons),

attempt_segments as (select * from intermediate.funnel_attempt_segments),

values_of_conversion as (select * from intermediate.conversion_values),

reasons as (select * from taxonomy.reasons),

funnels as (select * from taxonomy.funnels),

funnel_successors as (select * from taxonomy.funnel_successors),

observation as (select * from staging.observation),

-- Who leaves is known to have left only when the time for going on is over: until then a period is incomplete.
limits as (
    select
        funnels.funnel,
        observation.as_of
        - coalesce(funnels.funnel_window, max(funnel_successors.within), interval 0 second) as known_until
    from funnels
    cross join observation
    left join funnel_successors on funnels.funnel = funnel_successors.funnel
    group by funnels.funnel, funnels.funnel_window, observation.as_of
),

primary_reasons as (
    select
        drop_reasons.*,
        limits.known_until,
        drop_reasons.exit_at >= limits.known_until - interval 30 days
        and drop_reasons.exit_at < limits.known_until as is_recent,
        drop_reasons.exit_at >= limits.known_until - interval 60 days
        and drop_reasons.exit_at < limits.known_until - interval 30 days as is_previous
    from drop_reasons
    inner join limits on drop_reasons.funnel = limits.funnel
    where drop_reasons.evidence_rank = 1
),

details as (
    select
        primary_reasons.funnel,
        attempt_segments.segment_by,
        attempt_segments.segment,
        primary_reasons.step_order,
        primary_reasons.signal,
        primary_reasons.detail,
        count(distinct primary_reasons.customer_id) as customers
    from primary_reasons
    inner join attempt_segments
        on primary_reasons.funnel = attempt_segments.funnel
        and primary_reasons.customer_id = attempt_segments.customer_id
        and primary_reasons.attempt = attempt_segments.attempt
    group by all
),

top_details as (
    select * from details
    qualify
        row_number() over (
            partition by funnel, segment_by, segment, step_order, signal
            order by customers desc, detail
        ) = 1
),

counted as (
    select
        primary_reasons.funnel,
        attempt_segments.segment_by,
        attempt_segments.segment,
        primary_reasons.step_order,
        primary_reasons.step,
        primary_reasons.reason,
        primary_reasons.signal,
        primary_reasons.known_until,
        count(distinct primary_reasons.customer_id) as customers,
        count(*) as drops,
        count(distinct primary_reasons.customer_id) filter (where primary_reasons.is_recent) as customers_last_30_days,
        count(distinct primary_reasons.customer_id) filter (where primary_reasons.is_previous)
            as customers_previous_30_days
    from primary_reasons
    inner join attempt_segments
        on primary_reasons.funnel = attempt_segments.funnel
        and primary_reasons.customer_id = attempt_segments.customer_id
        and primary_reasons.attempt = attempt_segments.attempt
    group by all
),

points as (
    select
        -- which
        counted.funnel,
        counted.segment_by,
        counted.segment,
        counted.step_order,
        counted.step,
        counted.reason,
        counted.signal,

        -- how much
        counted.customers,
        counted.customers / sum(counted.customers) over same_step as share_of_step,
        (counted.drops * values_of_conversion.revenue_per_conversion)::decimal(38, 4) as revenue_at_risk,
        values_of_conversion.currency,

        -- which way it goes
        counted.customers_last_30_days,
        counted.customers_previous_30_days,
        counted.customers_last_30_days - counted.customers_previous_30_days as trend,
        counted.known_until,

        -- what to do
        reasons.strategy,
        top_details.detail as top_detail,
        top_details.customers as top_detail_customers
    from counted
    inner join reasons on counted.reason = reasons.reason
    inner join top_details
        on counted.funnel = top_details.funnel
        and counted.segment_by = top_details.segment_by
        and counted.segment = top_details.segment
        and counted.step_order = top_details.step_order
        and counted.signal = top_details.signal
    left join values_of_conversion on counted.funnel = values_of_conversion.funnel
    window same_step as (
        partition by counted.funnel, counted.segment_by, counted.segment, counted.step_order
    )
)

select * from points
