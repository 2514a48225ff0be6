-- What hurts, where, and whom: per step and segment the primary reasons of drops, what is at stake and which way it goes.
-- Grain: (funnel, segment_by, segment, step_order, reason, signal, detail).

with

drop_reasons as (select * from marts.drop_reasons),

attempts as (select * from marts.funnel_attempts),

attempt_segments as (select * from intermediate.funnel_attempt_segments),

touchpoints as (select * from marts.touchpoints),

reasons as (select * from taxonomy.reasons),

observation as (select * from staging.observation),

-- What an attempt brings in that converts: the revenue of its own events, in the currency that the funnel's customers
-- pay most often.
earned as (
    select
        attempts.funnel,
        attempts.customer_id,
        attempts.attempt,
        touchpoints.currency,
        sum(touchpoints.revenue) as revenue
    from attempts
    cross join unnest(attempts.event_ids) as matched (event_id)
    inner join touchpoints on matched.event_id = touchpoints.event_id
    where attempts.status = 'converted' and touchpoints.revenue is not null
    group by attempts.funnel, attempts.customer_id, attempts.attempt, touchpoints.currency
),

values_of_conversion as (
    select
        funnel,
        currency,
        sum(revenue) / count(*) as revenue_per_conversion
    from earned
    group by funnel, currency
    qualify row_number() over (partition by funnel order by count(*) desc, currency) = 1
),

-- The last 30 days before as_of, and the 30 days before those.
primary_reasons as (
    select
        drop_reasons.*,
        drop_reasons.exit_at > observation.as_of - interval 30 days as is_recent,
        drop_reasons.exit_at > observation.as_of - interval 60 days
        and drop_reasons.exit_at <= observation.as_of - interval 30 days as is_previous
    from drop_reasons
    cross join observation
    where drop_reasons.evidence_rank = 1
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
        primary_reasons.detail,
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
        counted.detail,

        -- how much
        counted.customers,
        counted.customers / sum(counted.customers) over same_step as share_of_step,
        (counted.drops * values_of_conversion.revenue_per_conversion)::decimal(38, 4) as revenue_at_risk,
        values_of_conversion.currency,

        -- which way it goes
        counted.customers_last_30_days,
        counted.customers_previous_30_days,
        counted.customers_last_30_days - counted.customers_previous_30_days as trend,

        -- what to do
        reasons.strategy
    from counted
    inner join reasons on counted.reason = reasons.reason
    left join values_of_conversion on counted.funnel = values_of_conversion.funnel
    window same_step as (
        partition by counted.funnel, counted.segment_by, counted.segment, counted.step_order
    )
)

select * from points
