-- Each funnel per period of entry: who came, went on and left, beside what is usual, and which signal rose.
-- Grain: (funnel, period, period_start, segment_by, segment, step_order).

with

period_counts as (select * from intermediate.period_counts),

fisher_tests as (select * from intermediate.fisher_tests),

signal_shares as (
    select * from intermediate.period_signals
    where place = 1
),

funnel_steps as (select * from taxonomy.funnel_steps),

compared as (
    select
        period_counts.*,
        funnel_steps.label as step,
        case
            when period_counts.is_complete and period_counts.can_be_left
                then period_counts.customers_dropped / nullif(period_counts.customers_reached, 0)
        end as drop_rate,
        period_counts.baseline_dropped / nullif(period_counts.baseline_reached, 0) as baseline_rate,
        (period_counts.customers_dropped + period_counts.baseline_dropped)
        / nullif(period_counts.customers_reached + period_counts.baseline_reached, 0) as pooled_rate,
        fisher_tests.p_value
    from period_counts
    inner join funnel_steps
        on period_counts.funnel = funnel_steps.funnel
        and period_counts.step_order = funnel_steps.step_order
    left join fisher_tests
        on period_counts.customers_dropped = fisher_tests.with_event
        and period_counts.customers_reached - period_counts.customers_dropped = fisher_tests.without_event
        and period_counts.baseline_dropped = fisher_tests.others_with_event
        and period_counts.baseline_reached - period_counts.baseline_dropped = fisher_tests.others_without_event
),

-- Benjamini and Hochberg (1995), over all cells of a funnel that have a baseline.
ranked as (
    select
        *,
        p_value * count(p_value) over (partition by funnel, period) / row_number() over (
            partition by funnel, period
            order by p_value nulls last, period_start, segment_by, segment, step_order
        ) as p_adjusted
    from compared
),

tested as (
    select
        *,
        case
            when p_value is not null
                then min(least(1, p_adjusted)) over (
                    partition by funnel, period
                    order by p_value nulls last, period_start, segment_by, segment, step_order
                    rows between current row and unbounded following
                )
        end as q_value
    from ranked
),

periods as (
    select
        -- which
        tested.funnel,
        tested.period,
        tested.period_start,
        tested.segment_by,
        tested.segment,
        tested.step_order::integer as step_order,
        tested.step,

        -- how many
        tested.customers_reached,
        tested.customers_advanced,
        tested.customers_dropped,
        tested.customers_open,
        tested.customers_converted,
        tested.is_complete,
        tested.drop_rate,
        case when tested.can_be_left then tested.drop_rate_kaplan_meier end as drop_rate_kaplan_meier,

        -- beside what is usual
        tested.baseline_rate,
        case when tested.baseline_reached is not null then len(tested.baseline_starts) end as baseline_periods,
        tested.baseline_reached,
        tested.drop_rate - tested.baseline_rate as change,
        (tested.drop_rate - tested.baseline_rate)
        / nullif(sqrt(
            tested.pooled_rate * (1 - tested.pooled_rate) * (1 / tested.customers_reached + 1 / tested.baseline_reached)
        ), 0) as z,
        tested.p_value,
        tested.q_value,
        coalesce(tested.q_value <= 0.05, false) as is_changed,

        -- what rose with it
        signal_shares.signal as top_signal,
        signal_shares.detail as top_signal_detail,
        signal_shares.share as top_signal_share,
        signal_shares.baseline_share as top_signal_baseline_share
    from tested
    left join signal_shares
        on tested.funnel = signal_shares.funnel
        and tested.period = signal_shares.period
        and tested.period_start = signal_shares.period_start
        and tested.segment_by = signal_shares.segment_by
        and tested.segment = signal_shares.segment
        and tested.step_order = signal_shares.step_order
)

select * from periods
