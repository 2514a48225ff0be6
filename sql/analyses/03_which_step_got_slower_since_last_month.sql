-- Which step takes longer than a month ago? 30 days of entries beside the 30 before; the last 14 are still under way.
with

bounds as (
    select max(occurred_at) - interval 14 days as until
    from marts.touchpoints
),

ways as (
    select
        attempts.funnel,
        steps.step_order,
        attempts.entered_at > bounds.until - interval 30 days as is_recent,
        epoch(attempts.step_times[steps.step_order] - attempts.step_times[steps.step_order - 1]) as seconds
    from marts.funnel_attempts as attempts
    cross join bounds
    cross join unnest(range(2, len(attempts.step_times) + 1)) as steps (step_order)
    where
        attempts.entered_at > bounds.until - interval 60 days
        and attempts.entered_at <= bounds.until
        and attempts.step_times[steps.step_order] is not null
)

select
    ways.funnel,
    drops.step,
    count(*) filter (where ways.is_recent) as attempts_now,
    round(median(ways.seconds) filter (where not ways.is_recent), 1) as median_seconds_before,
    round(median(ways.seconds) filter (where ways.is_recent), 1) as median_seconds_now,
    round(
        median(ways.seconds) filter (where ways.is_recent) / median(ways.seconds) filter (where not ways.is_recent), 2
    ) as ratio
from ways
inner join marts.funnel_drops as drops
    on ways.funnel = drops.funnel
    and ways.step_order = drops.step_order
    and drops.segment_by = 'all'
group by ways.funnel, ways.step_order, drops.step
order by ratio desc, ways.funnel, ways.step_order
