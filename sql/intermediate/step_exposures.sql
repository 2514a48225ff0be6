-- What each attempt could see around a step: the same span of time for those who left after it and those who went on.
-- Grain: (funnel, customer_id, attempt, step_order).

with

attempt_steps as (select * from intermediate.attempt_steps),

paces as (select * from intermediate.step_paces),

attempt_periods as (
    select * from intermediate.attempt_periods
    where period <> 'all'
),

funnels as (select * from taxonomy.funnels),

funnel_periods as (select * from taxonomy.funnel_periods),

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
-- where the time for going on is over: earlier, we would count converters but miss droppers.
decided as (
    select
        attempt_steps.*,
        attempt_steps.next_taken_at is null as is_dropped,
        coalesce(epoch(attempt_steps.taken_at - attempt_steps.left_at) > paces.slow_seconds, false) as is_slow
    from attempt_steps
    inner join funnels on attempt_steps.funnel = funnels.funnel
    cross join observation
    left join patience
        on attempt_steps.funnel = patience.funnel
        and attempt_steps.declared_step = patience.declared_step
    left join paces
        on attempt_steps.funnel = paces.funnel
        and attempt_steps.step_order = paces.step_order
    where
        attempt_steps.status <> 'excluded'
        and (attempt_steps.next_taken_at is not null or attempt_steps.status = 'dropped')
        and coalesce(
            least(attempt_steps.entered_at + funnels.funnel_window, attempt_steps.taken_at + patience.within)
            < observation.as_of,
            true
        )
),

-- The visit up to the step, and as long after it as 95 in 100 of those who went on took. A later signal, or one that
-- cannot be seen yet, counts on neither side.
horizons as (
    select
        funnel,
        step_order,
        to_microseconds(quantile_disc(greatest(epoch_us(next_taken_at - taken_at), 0), 0.95)) as horizon
    from decided
    where not is_dropped
    group by funnel, step_order
),

exposures as (
    select
        decided.funnel,
        decided.customer_id,
        decided.attempt,
        decided.step_order,
        decided.declared_step,
        decided.event_id,
        decided.is_dropped,
        decided.is_slow,
        decided.taken_at,
        coalesce(decided.visit_started_at, decided.taken_at) as exposed_from,
        decided.taken_at + horizons.horizon as exposed_until,
        horizons.horizon,
        attempt_periods.period_start
    from decided
    inner join horizons on decided.funnel = horizons.funnel and decided.step_order = horizons.step_order
    inner join funnel_periods on decided.funnel = funnel_periods.funnel and funnel_periods.is_watched
    inner join attempt_periods
        on decided.funnel = attempt_periods.funnel
        and decided.customer_id = attempt_periods.customer_id
        and decided.attempt = attempt_periods.attempt
        and funnel_periods.period = attempt_periods.period
    cross join observation
    where decided.taken_at + horizons.horizon <= observation.as_of
)

select * from exposures
