-- Each period of entry beside the complete periods before it: its baseline.
-- Grain: (funnel, period, period_start, segment_by, segment, step_order).

with recursive

cells as (
    select * from intermediate.funnel_cells
    where period <> 'all'
),

funnels as (select * from taxonomy.funnels),

funnel_steps as (select * from taxonomy.funnel_steps),

observation as (select * from staging.observation),

-- All who entered in a complete period have had their whole time, whatever became of them.
judged as (
    select
        cells.*,
        funnel_steps.can_be_left,
        coalesce(cells.period_end + funnels.funnel_window <= observation.as_of, false) as is_complete
    from cells
    inner join funnels on cells.funnel = funnels.funnel
    inner join funnel_steps on cells.funnel = funnel_steps.funnel and cells.step_order = funnel_steps.step_order
    cross join observation
),

series as (
    select
        funnel,
        period,
        segment_by,
        segment,
        step_order,
        period_start,
        customers_reached,
        customers_dropped,
        row_number() over (
            partition by funnel, period, segment_by, segment, step_order
            order by period_start
        ) as place
    from judged
    where is_complete and can_be_left and customers_reached > 0
),

-- What is usual is what the eight complete periods before were like. One that differs from them by more than three
-- standard errors is no part of what is usual, or a month's outage would hide itself; eight of those in a row are.
walked as (
    select
        *,
        []::struct(period_start timestamptz, reached bigint, dropped bigint)[] as baseline,
        []::struct(period_start timestamptz, reached bigint, dropped bigint)[] as unusual
    from series
    where place = 1

    union all

    select
        series.*,
        case
            when seen.is_unusual and len(seen.unusual) = 7 then list_append(seen.unusual, seen.own)
            when seen.is_unusual then seen.baseline
            else list_append(seen.baseline, seen.own)[-8:]
        end as baseline,
        case when seen.is_unusual and len(seen.unusual) < 7 then list_append(seen.unusual, seen.own) else [] end
            as unusual
    from (
        select
            *,
            coalesce(
                abs(customers_dropped / customers_reached - baseline_dropped / baseline_reached)
                > 3 * sqrt(
                    (customers_dropped + baseline_dropped) / (customers_reached + baseline_reached)
                    * (1 - (customers_dropped + baseline_dropped) / (customers_reached + baseline_reached))
                    * (1 / customers_reached + 1 / baseline_reached)
                ),
                false
            ) as is_unusual,
            struct_pack(period_start := period_start, reached := customers_reached, dropped := customers_dropped) as own
        from (
            select
                *,
                list_sum(list_transform(baseline, lambda earlier: earlier.reached)) as baseline_reached,
                list_sum(list_transform(baseline, lambda earlier: earlier.dropped)) as baseline_dropped
            from walked
        ) as summed
    ) as seen
    inner join series
        on seen.funnel = series.funnel
        and seen.period = series.period
        and seen.segment_by = series.segment_by
        and seen.segment = series.segment
        and seen.step_order = series.step_order
        and seen.place + 1 = series.place
),

-- Two periods are not yet what is usual.
counts as (
    select
        judged.*,
        list_transform(walked.baseline, lambda earlier: earlier.period_start) as baseline_starts,
        case
            when len(walked.baseline) >= 3
                then list_sum(list_transform(walked.baseline, lambda earlier: earlier.reached))
        end::bigint as baseline_reached,
        case
            when len(walked.baseline) >= 3
                then list_sum(list_transform(walked.baseline, lambda earlier: earlier.dropped))
        end::bigint as baseline_dropped
    from judged
    left join walked
        on judged.funnel = walked.funnel
        and judged.period = walked.period
        and judged.period_start = walked.period_start
        and judged.segment_by = walked.segment_by
        and judged.segment = walked.segment
        and judged.step_order = walked.step_order
)

select * from counts
