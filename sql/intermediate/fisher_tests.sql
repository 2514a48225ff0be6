-- The exact p-value of each two-by-two table that drivers and periods of funnels test, once however many share it.
-- Grain: (with_event, without_event, others_with_event, others_without_event).

with

driver_counts as (select * from intermediate.driver_counts),

period_counts as (select * from intermediate.period_counts),

tables as (
    select
        dropped_with as with_event,
        dropped_without as without_event,
        advanced_with as others_with_event,
        advanced_without as others_without_event
    from driver_counts
    union
    select
        customers_dropped as with_event,
        customers_reached - customers_dropped as without_event,
        baseline_dropped as others_with_event,
        baseline_reached - baseline_dropped as others_without_event
    from period_counts
    where baseline_reached is not null
),

-- Forty standard deviations from what is expected nothing is left of any probability: large tables need no more cells.
bounded as (
    select
        *,
        (with_event + without_event)::double * (with_event + others_with_event)
        / (with_event + without_event + others_with_event + others_without_event) as expected,
        50 + 40 * sqrt(
            (with_event + without_event)::double * (others_with_event + others_without_event)
            * (with_event + others_with_event) * (without_event + others_without_event)
        ) / (with_event + without_event + others_with_event + others_without_event) as reach
    from tables
),

-- Fisher (1922): of all tables with the same margins, those that are no likelier than this one.
likelihoods as (
    select
        bounded.with_event,
        bounded.without_event,
        bounded.others_with_event,
        bounded.others_without_event,
        cells.with_event as cell,
        exp(
            lgamma(bounded.with_event + without_event + 1) + lgamma(others_with_event + others_without_event + 1)
            + lgamma(bounded.with_event + others_with_event + 1) + lgamma(without_event + others_without_event + 1)
            - lgamma(bounded.with_event + without_event + others_with_event + others_without_event + 1)
            - lgamma(cells.with_event + 1) - lgamma(bounded.with_event + without_event - cells.with_event + 1)
            - lgamma(bounded.with_event + others_with_event - cells.with_event + 1)
            - lgamma(others_without_event - bounded.with_event + cells.with_event + 1)
        ) as probability
    from bounded
    cross join unnest(range(
        greatest(0, bounded.with_event - others_without_event, floor(expected - reach)::bigint),
        least(
            bounded.with_event + without_event, bounded.with_event + others_with_event, ceil(expected + reach)::bigint
        ) + 1
    )) as cells (with_event)
),

compared as (
    select
        *,
        max(probability) filter (where cell = with_event) over (
            partition by with_event, without_event, others_with_event, others_without_event
        ) as observed
    from likelihoods
),

p_values as (
    select
        with_event,
        without_event,
        others_with_event,
        others_without_event,
        -- A sum of floating numbers depends on its order.
        coalesce(least(1, list_aggregate(
            list(probability order by probability) filter (where probability <= observed * (1 + 1e-7)), 'sum'
        )), 0) as p_value
    from compared
    group by with_event, without_event, others_with_event, others_without_event
)

select * from p_values
