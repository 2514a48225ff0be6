-- The day, the week and the month in which each attempt entered its funnel, in the funnel's time zone; `all` is all time.
-- Grain: (funnel, customer_id, attempt, period).

with

attempts as (select funnel, customer_id, attempt, entered_at from marts.funnel_attempts),

funnel_periods as (select * from taxonomy.funnel_periods),

local_times as (
    select
        attempts.*,
        funnel_periods.* exclude (funnel),
        timezone(funnel_periods.time_zone, attempts.entered_at) as entered_at_local
    from attempts
    inner join funnel_periods on attempts.funnel = funnel_periods.funnel
),

local_periods as (
    select
        * exclude (entered_at_local),
        -- A week that starts on Sunday is one that starts on Monday, a day later.
        date_trunc(period, entered_at_local + week_shift) - week_shift as period_start_local
    from local_times
    where period <> 'all'
),

periods as (
    select
        local_periods.funnel,
        local_periods.customer_id,
        local_periods.attempt,
        local_periods.period,
        timezone(local_periods.time_zone, local_periods.period_start_local) as period_start,
        timezone(local_periods.time_zone, local_periods.period_start_local + local_periods.period_length) as period_end
    from local_periods
    union all
    select
        funnel,
        customer_id,
        attempt,
        'all' as period,
        null as period_start,
        null as period_end
    from attempts
)

select * from periods
