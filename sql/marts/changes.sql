-- What changed, when, where and why: runs of periods in which more, or fewer, left a step than is usual.
-- Grain: (funnel, segment_by, segment, step_order, started_at).

with

funnel_periods as (select * from marts.funnel_periods),

watched as (
    select * from taxonomy.funnel_periods
    where is_watched
),

period_counts as (select * from intermediate.period_counts),

period_signals as (select * from intermediate.period_signals),

conversion_values as (select * from intermediate.conversion_values),

exposures as (select * from intermediate.step_exposures),

exposure_signals as (select * from intermediate.exposure_signals),

attempt_segments as (select * from intermediate.funnel_attempt_segments),

signal_events as (select * from intermediate.signal_events),

history as (select * from intermediate.touchpoint_history),

changed_periods as (
    select
        funnel_periods.*,
        period_counts.period_end,
        period_counts.baseline_starts,
        funnel_periods.change > 0 as is_rise,
        -- A signal that rose by a quarter tells one cause from the next one.
        case
            when funnel_periods.top_signal_share - funnel_periods.top_signal_baseline_share >= 0.25
                then funnel_periods.top_signal
        end as cause
    from funnel_periods
    inner join watched
        on funnel_periods.funnel = watched.funnel
        and funnel_periods.period = watched.period
    inner join period_counts
        on funnel_periods.funnel = period_counts.funnel
        and funnel_periods.period = period_counts.period
        and funnel_periods.period_start = period_counts.period_start
        and funnel_periods.segment_by = period_counts.segment_by
        and funnel_periods.segment = period_counts.segment
        and funnel_periods.step_order = period_counts.step_order
    where funnel_periods.is_changed
),

followed as (
    select
        *,
        coalesce(period_start = lag(period_end) over step_periods, false)
        and is_rise = lag(is_rise) over step_periods
        -- What has become usual begins a change of its own.
        and coalesce(baseline_starts[1] <= lag(baseline_starts[-1]) over step_periods, true)
        and coalesce(cause = last_value(cause ignore nulls) over earlier_periods, true) as goes_on
    from changed_periods
    window
        step_periods as (partition by funnel, segment_by, segment, step_order order by period_start),
        earlier_periods as (
            partition by funnel, segment_by, segment, step_order
            order by period_start
            rows between unbounded preceding and 1 preceding
        )
),

flagged as (
    select
        * exclude (goes_on, baseline_starts, cause),
        count(*) filter (where not goes_on) over (
            partition by funnel, segment_by, segment, step_order
            order by period_start
            rows between unbounded preceding and current row
        ) as run
    from followed
),

runs as (
    select
        funnel,
        segment_by,
        segment,
        step_order,
        step,
        is_rise,
        run,
        period,
        min(period_start) as started_at,
        max(period_end) as ended_at,
        count(*) as periods,
        arg_min(baseline_rate, period_start) as from_rate,
        sum(customers_dropped) / sum(customers_reached) as to_rate,
        sum(customers_reached)::bigint as customers_reached,
        sum(customers_dropped)::bigint as customers_dropped,
        min(q_value) as q_value
    from flagged
    group by all
),

run_signals as (
    select
        flagged.funnel,
        flagged.segment_by,
        flagged.segment,
        flagged.step_order,
        flagged.is_rise,
        flagged.run,
        period_signals.candidate_kind,
        period_signals.signal,
        period_signals.detail,
        sum(period_signals.dropped_with) / sum(flagged.customers_dropped) as share,
        arg_min(period_signals.baseline_share, period_signals.period_start) as baseline_share
    from flagged
    inner join period_signals
        on flagged.funnel = period_signals.funnel
        and flagged.period = period_signals.period
        and flagged.period_start = period_signals.period_start
        and flagged.segment_by = period_signals.segment_by
        and flagged.segment = period_signals.segment
        and flagged.step_order = period_signals.step_order
    where flagged.is_rise
    group by all
),

top_signals as (
    select *
    from run_signals
    where share > baseline_share
    qualify
        row_number() over (
            partition by funnel, segment_by, segment, step_order, run
            order by
                round((share - baseline_share) * case when detail = 'all' then 0.9 else 1 end, 9) desc,
                list_position(['declared', 'event', 'property'], candidate_kind), signal, detail
        ) = 1
),

-- Those who left in the run and saw the signal.
witnesses as (
    select
        top_signals.funnel,
        top_signals.segment_by,
        top_signals.segment,
        top_signals.step_order,
        top_signals.run,
        top_signals.candidate_kind,
        top_signals.signal,
        top_signals.detail,
        exposures.customer_id,
        exposures.event_id,
        exposures.taken_at,
        exposures.exposed_from,
        exposures.exposed_until
    from top_signals
    inner join flagged
        on top_signals.funnel = flagged.funnel
        and top_signals.segment_by = flagged.segment_by
        and top_signals.segment = flagged.segment
        and top_signals.step_order = flagged.step_order
        and top_signals.is_rise = flagged.is_rise
        and top_signals.run = flagged.run
    inner join exposures
        on flagged.funnel = exposures.funnel
        and flagged.step_order = exposures.step_order
        and flagged.period_start = exposures.period_start
        and exposures.is_dropped
    inner join attempt_segments
        on exposures.funnel = attempt_segments.funnel
        and exposures.customer_id = attempt_segments.customer_id
        and exposures.attempt = attempt_segments.attempt
        and flagged.segment_by = attempt_segments.segment_by
        and flagged.segment = attempt_segments.segment
    inner join exposure_signals
        on exposures.funnel = exposure_signals.funnel
        and exposures.customer_id = exposure_signals.customer_id
        and exposures.attempt = exposure_signals.attempt
        and exposures.step_order = exposure_signals.step_order
        and top_signals.candidate_kind = exposure_signals.candidate_kind
        and top_signals.signal = exposure_signals.signal
        and top_signals.detail = exposure_signals.detail
),

testimonies as (
    select
        witnesses.* exclude (event_id),
        signal_events.event_id
    from witnesses
    inner join signal_events
        on witnesses.customer_id = signal_events.customer_id
        and witnesses.signal = signal_events.signal
        and witnesses.detail in ('all', signal_events.detail)
        and witnesses.exposed_from <= signal_events.occurred_at
        and witnesses.exposed_until >= signal_events.occurred_at
    where witnesses.candidate_kind = 'declared'
    union all
    select
        witnesses.* exclude (event_id),
        history.event_id
    from witnesses
    inner join history
        on witnesses.customer_id = history.customer_id
        and witnesses.signal = history.event_type
        and witnesses.taken_at <= history.occurred_at
        and witnesses.exposed_until >= history.occurred_at
    where witnesses.candidate_kind = 'event'
    union all
    select
        * exclude (event_id),
        event_id
    from witnesses
    where candidate_kind = 'property' or signal = 'slow_step'
),

named as (
    select
        funnel,
        segment_by,
        segment,
        step_order,
        run,
        list_sort(list_distinct(list(event_id))) as event_ids
    from testimonies
    group by funnel, segment_by, segment, step_order, run
),

changed as (
    select
        -- which
        runs.funnel,
        runs.segment_by,
        runs.segment,
        runs.step_order::integer as step_order,
        runs.step,
        runs.started_at,
        runs.ended_at,
        runs.period,
        runs.periods,

        -- how much
        case when runs.is_rise then 'rise' else 'fall' end as direction,
        runs.from_rate,
        runs.to_rate,
        runs.customers_reached,
        runs.customers_dropped,
        runs.customers_dropped - runs.from_rate * runs.customers_reached as excess_drops,
        (
            (runs.customers_dropped - runs.from_rate * runs.customers_reached)
            * conversion_values.revenue_per_conversion
        )::decimal(38, 4) as revenue,
        conversion_values.currency,
        runs.q_value,

        -- why
        top_signals.candidate_kind,
        top_signals.signal,
        top_signals.detail,
        top_signals.share as signal_share,
        top_signals.baseline_share as signal_baseline_share,
        coalesce(named.event_ids[:100], []) as event_ids,
        coalesce(len(named.event_ids), 0) as signal_events
    from runs
    left join top_signals
        on runs.funnel = top_signals.funnel
        and runs.segment_by = top_signals.segment_by
        and runs.segment = top_signals.segment
        and runs.step_order = top_signals.step_order
        and runs.is_rise = top_signals.is_rise
        and runs.run = top_signals.run
    left join named
        on top_signals.funnel = named.funnel
        and top_signals.segment_by = named.segment_by
        and top_signals.segment = named.segment
        and top_signals.step_order = named.step_order
        and top_signals.run = named.run
    left join conversion_values on runs.funnel = conversion_values.funnel
)

select * from changed
