-- What each converted attempt brought in: the revenue of the last of its events that has any.
-- Grain: (funnel, customer_id, attempt).

with

attempts as (select * from marts.funnel_attempts),

touchpoints as (select * from marts.touchpoints),

earned as (
    select
        attempts.funnel,
        attempts.customer_id,
        attempts.attempt,
        arg_max(
            struct_pack(currency := touchpoints.currency, revenue := touchpoints.revenue), touchpoints.event_order
        ) filter (where touchpoints.revenue is not null) as paid
    from attempts
    cross join unnest(attempts.event_ids) as matched (event_id)
    inner join touchpoints on matched.event_id = touchpoints.event_id
    where attempts.status = 'converted'
    group by attempts.funnel, attempts.customer_id, attempts.attempt
)

select * from earned
