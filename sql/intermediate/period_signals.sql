-- Which signals rose among those who left in a watched period of entry; the first one rose most.
-- Grain: (funnel, period, period_start, segment_by, segment, step_order, candidate_kind, signal, detail).

with

period_counts as (
    select * from intermediate.period_counts
    where baseline_reached is not null
),

signal_counts as (select * from intermediate.signal_counts),

funnel_periods as (
    select * from taxonomy.funnel_periods
    where is_watched
),

cells as (
    select
        period_counts.funnel,
        period_counts.period,
        period_counts.period_start,
        period_counts.segment_by,
        period_counts.segment,
        period_counts.step_order,
        period_counts.baseline_starts
    from period_counts
    inner join funnel_periods
        on period_counts.funnel = funnel_periods.funnel
        and period_counts.period = funnel_periods.period
),

own as (
    select
        cells.* exclude (baseline_starts),
        signal_counts.candidate_kind,
        signal_counts.signal,
        signal_counts.detail,
        signal_counts.dropped as dropped_with,
        whole.dropped
    from cells
    inner join signal_counts
        on cells.funnel = signal_counts.funnel
        and cells.segment_by = signal_counts.segment_by
        and cells.segment = signal_counts.segment
        and cells.step_order = signal_counts.step_order
        and cells.period_start = signal_counts.period_start
    inner join signal_counts as whole
        on cells.funnel = whole.funnel
        and cells.segment_by = whole.segment_by
        and cells.segment = whole.segment
        and cells.step_order = whole.step_order
        and cells.period_start = whole.period_start
        and whole.candidate_kind = 'all'
    where signal_counts.candidate_kind <> 'all' and signal_counts.dropped > 0
),

baseline_periods as (
    select
        * exclude (baseline_starts),
        unnest(baseline_starts) as baseline_start
    from cells
),

usual as (
    select
        baseline_periods.* exclude (baseline_start),
        signal_counts.candidate_kind,
        signal_counts.signal,
        signal_counts.detail,
        sum(signal_counts.dropped) as dropped,
        sum(signal_counts.dropped + signal_counts.advanced) as decided
    from baseline_periods
    inner join signal_counts
        on baseline_periods.funnel = signal_counts.funnel
        and baseline_periods.segment_by = signal_counts.segment_by
        and baseline_periods.segment = signal_counts.segment
        and baseline_periods.step_order = signal_counts.step_order
        and baseline_periods.baseline_start = signal_counts.period_start
    group by all
),

-- The usual share is that of those who left, or of all at the step where that is more: before an outage few leave.
shares as (
    select
        own.*,
        own.dropped_with / own.dropped as share,
        coalesce(greatest(
            usual.dropped / nullif(usual_whole.dropped, 0), usual.decided / usual_whole.decided
        ), 0) as baseline_share
    from own
    left join usual
        on own.funnel = usual.funnel
        and own.period = usual.period
        and own.period_start = usual.period_start
        and own.segment_by = usual.segment_by
        and own.segment = usual.segment
        and own.step_order = usual.step_order
        and own.candidate_kind = usual.candidate_kind
        and own.signal = usual.signal
        and own.detail = usual.detail
    left join usual as usual_whole
        on own.funnel = usual_whole.funnel
        and own.period = usual_whole.period
        and own.period_start = usual_whole.period_start
        and own.segment_by = usual_whole.segment_by
        and own.segment = usual_whole.segment
        and own.step_order = usual_whole.step_order
        and usual_whole.candidate_kind = 'all'
),

-- A detail that explains nine tenths of it says more than the signal as a whole, and a signal more than a property.
ranked as (
    select
        *,
        case
            when share > baseline_share
                then row_number() over (
                    partition by funnel, period, period_start, segment_by, segment, step_order
                    order by
                        round((share - baseline_share) * case when detail = 'all' then 0.9 else 1 end, 9) desc,
                        list_position(['declared', 'event', 'property'], candidate_kind), signal, detail
                )
        end as place
    from shares
)

select * from ranked
