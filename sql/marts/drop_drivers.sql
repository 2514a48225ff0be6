-- What is associated with leaving at a step: each signal among those who dropped and those who went on.
-- Grain: (funnel, step_order, signal, detail).

with

attempt_steps as (select * from intermediate.attempt_steps),

signal_events as (select * from intermediate.signal_events),

funnels as (select * from taxonomy.funnels),

funnel_steps as (select * from taxonomy.funnel_steps),

funnel_successors as (select * from taxonomy.funnel_successors),

observation as (select * from staging.observation),

patience as (
    select
        funnel,
        step_order as declared_step,
        case when count(within) = count(*) then max(within) end as within
    from funnel_successors
    group by funnel, step_order
),

-- Who left, or went on, after each step: open attempts have done neither, and nobody leaves when all is done. Only
-- where the time for going on is over: before that the ones who went on would be known, and the ones who leave not.
decided as (
    select
        attempt_steps.*,
        attempt_steps.next_taken_at is null as is_dropped
    from attempt_steps
    inner join funnels on attempt_steps.funnel = funnels.funnel
    cross join observation
    left join patience
        on attempt_steps.funnel = patience.funnel
        and attempt_steps.declared_step = patience.declared_step
    where
        attempt_steps.status <> 'excluded'
        and (attempt_steps.next_taken_at is not null or attempt_steps.status = 'dropped')
        and coalesce(
            least(attempt_steps.entered_at + funnels.funnel_window, attempt_steps.taken_at + patience.within)
            < observation.as_of,
            true
        )
),

-- For both sides the same time is looked at: the visit up to the step, and as long after it as 95 in 100 of those who
-- went on took. What went on later than that, or cannot be seen that far yet, is left out on both sides alike.
horizons as (
    select
        funnel,
        step_order,
        to_microseconds(quantile_disc(greatest(epoch_us(next_taken_at - taken_at), 0), 0.95)) as horizon
    from decided
    where not is_dropped
    group by funnel, step_order
),

exposed as (
    select
        decided.funnel,
        decided.customer_id,
        decided.attempt,
        decided.step_order,
        decided.declared_step,
        decided.is_dropped,
        coalesce(decided.visit_started_at, decided.taken_at) as exposed_from,
        decided.taken_at + horizons.horizon as exposed_until,
        horizons.horizon
    from decided
    inner join horizons on decided.funnel = horizons.funnel and decided.step_order = horizons.step_order
    cross join observation
    where decided.taken_at + horizons.horizon <= observation.as_of
),

sides as (
    select
        funnel,
        step_order,
        epoch(min(horizon)) as seconds_after_step,
        count(*) filter (where is_dropped) as dropped,
        count(*) filter (where not is_dropped) as advanced,
        count(distinct customer_id) as customers
    from exposed
    group by funnel, step_order
),

seen as (
    select distinct
        exposed.funnel,
        exposed.step_order,
        exposed.customer_id,
        exposed.attempt,
        exposed.is_dropped,
        signal_events.signal,
        signal_events.detail
    from exposed
    inner join signal_events
        on exposed.customer_id = signal_events.customer_id
        and exposed.exposed_from <= signal_events.occurred_at
        and exposed.exposed_until >= signal_events.occurred_at
    -- A pattern is one of a step.
    where
        signal_events.funnel is null
        or (exposed.funnel = signal_events.funnel and exposed.declared_step = signal_events.step_order)
),

-- Each signal as a whole too, where it has details.
detailed as (
    select funnel, step_order, signal
    from seen
    group by funnel, step_order, signal
    having count(distinct detail) > 1
),

wholes as (
    select distinct
        seen.* replace ('all' as detail)
    from seen
    inner join detailed
        on seen.funnel = detailed.funnel
        and seen.step_order = detailed.step_order
        and seen.signal = detailed.signal
),

all_seen as (
    select * from seen
    union all
    select * from wholes
),

counted as (
    select
        all_seen.funnel,
        all_seen.step_order,
        all_seen.signal,
        all_seen.detail,
        count(*) filter (where all_seen.is_dropped) as dropped_with,
        count(*) filter (where not all_seen.is_dropped) as advanced_with,
        count(distinct all_seen.customer_id) as customers_with,
        count(distinct all_seen.customer_id) filter (where all_seen.is_dropped) as customers_dropped_with,
        sides.dropped,
        sides.advanced,
        sides.customers,
        sides.seconds_after_step
    from all_seen
    inner join sides on all_seen.funnel = sides.funnel and all_seen.step_order = sides.step_order
    group by all
),

-- Too few to say anything of, or nobody on one side to compare with.
supported as (
    select
        *,
        dropped - dropped_with as dropped_without,
        advanced - advanced_with as advanced_without
    from counted
    where customers_with >= 25 and customers_with >= 0.02 * customers and dropped > 0 and advanced > 0
),

-- Fisher (1922): of all tables with the same margins, those that are no likelier than this one.
tables as (
    select
        supported.funnel,
        supported.step_order,
        supported.signal,
        supported.detail,
        cells.dropped_with = supported.dropped_with as is_observed,
        exp(
            lgamma(dropped + 1) + lgamma(advanced + 1)
            + lgamma(supported.dropped_with + advanced_with + 1) + lgamma(dropped_without + advanced_without + 1)
            - lgamma(dropped + advanced + 1)
            - lgamma(cells.dropped_with + 1) - lgamma(dropped - cells.dropped_with + 1)
            - lgamma(supported.dropped_with + advanced_with - cells.dropped_with + 1)
            - lgamma(advanced - (supported.dropped_with + advanced_with - cells.dropped_with) + 1)
        ) as probability
    from supported
    cross join unnest(range(
        greatest(0, supported.dropped_with + supported.advanced_with - supported.advanced),
        least(supported.dropped, supported.dropped_with + supported.advanced_with) + 1
    )) as cells (dropped_with)
),

fisher as (
    select
        funnel,
        step_order,
        signal,
        detail,
        -- A sum of floating numbers depends on its order.
        least(1, list_aggregate(
            list(probability order by probability) filter (where probability <= observed * (1 + 1e-7)), 'sum'
        )) as p_value
    from (
        select
            *,
            max(probability) filter (where is_observed) over (
                partition by funnel, step_order, signal, detail
            ) as observed
        from tables
    ) as beside
    group by funnel, step_order, signal, detail
),

tested as (
    select
        supported.*,
        fisher.p_value,
        (dropped_with + 0.5) * (advanced_without + 0.5) / ((dropped_without + 0.5) * (advanced_with + 0.5)) as odds_ratio,
        1.959963984540054 * sqrt(
            1 / (dropped_with + 0.5) + 1 / (advanced_without + 0.5)
            + 1 / (dropped_without + 0.5) + 1 / (advanced_with + 0.5)
        ) as margin,
        count(*) over (partition by supported.funnel) as tests,
        row_number() over (
            partition by supported.funnel
            order by fisher.p_value, supported.step_order, supported.signal, supported.detail
        ) as place
    from supported
    inner join fisher
        on supported.funnel = fisher.funnel
        and supported.step_order = fisher.step_order
        and supported.signal = fisher.signal
        and supported.detail = fisher.detail
),

-- Benjamini and Hochberg (1995), over all tests of one funnel.
adjusted as (
    select
        *,
        min(least(1, p_value * tests / place)) over (
            partition by funnel
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
        adjusted.q_value <= 0.05 and adjusted.odds_ratio > 1 and adjusted.customers_dropped_with >= 25 as is_driver,
        adjusted.seconds_after_step
    from adjusted
    inner join funnel_steps
        on adjusted.funnel = funnel_steps.funnel
        and adjusted.step_order = funnel_steps.step_order
)

select * from drivers
