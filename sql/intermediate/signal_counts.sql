-- How many of those who dropped, and who advanced, saw each signal: per segment and watched period of entry.
-- Grain: (funnel, segment_by, segment, period_start, step_order, candidate_kind, signal, detail).

with

exposures as (select * from intermediate.step_exposures),

exposure_signals as (select * from intermediate.exposure_signals),

attempt_segments as (select * from intermediate.funnel_attempt_segments),

counts as (
    select
        exposures.funnel,
        attempt_segments.segment_by,
        attempt_segments.segment,
        exposures.period_start,
        exposures.step_order,
        exposure_signals.candidate_kind,
        exposure_signals.signal,
        exposure_signals.detail,
        count(*) filter (where exposures.is_dropped) as dropped,
        count(*) filter (where not exposures.is_dropped) as advanced
    from exposures
    inner join attempt_segments
        on exposures.funnel = attempt_segments.funnel
        and exposures.customer_id = attempt_segments.customer_id
        and exposures.attempt = attempt_segments.attempt
    inner join exposure_signals
        on exposures.funnel = exposure_signals.funnel
        and exposures.customer_id = exposure_signals.customer_id
        and exposures.attempt = exposure_signals.attempt
        and exposures.step_order = exposure_signals.step_order
    group by all
)

select * from counts
