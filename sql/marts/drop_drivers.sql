-- What is associated with leaving at a step: each signal among those who dropped and those who went on.
-- Grain: (funnel, segment_by, segment, period, step_order, candidate_kind, signal, detail).

with

driver_counts as (select * from intermediate.driver_counts),

fisher_tests as (select * from intermediate.fisher_tests),

exposures as (select * from intermediate.step_exposures),

funnel_steps as (select * from taxonomy.funnel_steps),

horizons as (
    select
        funnel,
        step_order,
        epoch(min(horizon)) as seconds_after_step
    from exposures
    group by funnel, step_order
),

-- Longer visits see more of everything: Cochran, Mantel and Haenszel compare visits of about as many touches. Half a
-- customer is taken off, as a count is whole. Where no two visits of one length differ, they cannot be compared.
compared as (
    select
        driver_counts.*,
        fisher_tests.p_value,
        greatest(0, abs(driver_counts.excess) - 0.5) / nullif(sqrt(driver_counts.variance), 0) as deviate
    from driver_counts
    inner join fisher_tests
        on driver_counts.dropped_with = fisher_tests.with_event
        and driver_counts.dropped_without = fisher_tests.without_event
        and driver_counts.advanced_with = fisher_tests.others_with_event
        and driver_counts.advanced_without = fisher_tests.others_without_event
),

tailed as (
    select
        *,
        1 / (1 + 0.5 * deviate / sqrt(2)) as t
    from compared
),

-- Twice the tail of the normal distribution, by the Chebyshev fit of Press et al., Numerical Recipes (1992), 6.2: right
-- to 1.2e-7 of itself. Of one stratum, or none, Fisher's test is the exact one.
stratified as (
    select
        * exclude (t, deviate),
        case
            when strata <= 1 then p_value
            else t * exp(
                -deviate * deviate / 2 - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418
                + t * (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587
                + t * (-0.82215223 + t * 0.17087277))))))))
            )
        end as p_value_stratified
    from tailed
),

tested as (
    select
        *,
        greatest(p_value, p_value_stratified) as p_worse,
        (dropped_with + 0.5) * (advanced_without + 0.5) / ((dropped_without + 0.5) * (advanced_with + 0.5)) as odds_ratio,
        1.959963984540054 * sqrt(
            1 / (dropped_with + 0.5) + 1 / (advanced_without + 0.5)
            + 1 / (dropped_without + 0.5) + 1 / (advanced_with + 0.5)
        ) as margin,
        count(*) over family as tests,
        row_number() over (
            family
            order by
                greatest(p_value, p_value_stratified), segment_by, segment, period, step_order, candidate_kind, signal,
                detail
        ) as place
    from stratified
    -- Of one funnel: the whole, all parts of one split, all periods.
    window family as (partition by funnel, segment_by, period = 'all')
),

-- Benjamini and Hochberg (1995), over all tests of a family.
adjusted as (
    select
        *,
        min(least(1, p_worse * tests / place)) over (
            partition by funnel, segment_by, period = 'all'
            order by place desc
        ) as q_value
    from tested
),

drivers as (
    select
        -- which
        adjusted.funnel,
        adjusted.step_order,
        funnel_steps.label as step,
        adjusted.signal,
        adjusted.detail,

        -- the four counts
        adjusted.dropped_with,
        adjusted.dropped_without,
        adjusted.advanced_with,
        adjusted.advanced_without,
        adjusted.customers_with,

        -- what they say
        adjusted.odds_ratio,
        exp(ln(adjusted.odds_ratio) - adjusted.margin) as odds_ratio_low,
        exp(ln(adjusted.odds_ratio) + adjusted.margin) as odds_ratio_high,
        adjusted.p_value,
        adjusted.q_value,
        case when adjusted.odds_ratio > 1 then 'dropping' else 'advancing' end as associated_with,
        -- What nobody has declared is one of many, and small differences between countries or devices are everywhere.
        adjusted.q_value <= 0.05
        and adjusted.odds_ratio > 1
        and coalesce(adjusted.odds_ratio_stratified > 1, true)
        and (
            adjusted.candidate_kind = 'declared'
            or least(adjusted.odds_ratio, coalesce(adjusted.odds_ratio_stratified, adjusted.odds_ratio)) >= 2
        )
        and adjusted.customers_dropped_with >= 25 as is_driver,
        horizons.seconds_after_step,

        -- in what part, and beside how many touches
        adjusted.candidate_kind,
        adjusted.segment_by,
        adjusted.segment,
        adjusted.period,
        adjusted.strata::integer as strata,
        adjusted.odds_ratio_stratified,
        adjusted.p_value_stratified
    from adjusted
    inner join funnel_steps
        on adjusted.funnel = funnel_steps.funnel
        and adjusted.step_order = funnel_steps.step_order
    inner join horizons
        on adjusted.funnel = horizons.funnel
        and adjusted.step_order = horizons.step_order
)

select * from drivers
