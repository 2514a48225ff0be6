-- What went out again of each journey's money: refunds, cancellations, and amounts below 0.
-- Grain: (journey_id, currency).

with

touchpoints as (select * from marts.touchpoints),

-- What a refund can name, and how much the journey counts for it: no more than that can go back.
orders as (
    select
        customer_id,
        trim(order_id) as order_name,
        journey_id,
        currency,
        case when is_goal and revenue > 0 then revenue else 0 end as paid
    from touchpoints
    where
        (is_goal or (event_type = 'order_completed' and coalesce(revenue >= 0, true)))
        and not is_repeated_order
        and trim(order_id) <> ''
    qualify row_number() over (partition by customer_id, trim(order_id) order by not is_goal, event_order) = 1
),

returns as (
    select
        customer_id,
        journey_id,
        event_order,
        nullif(trim(order_id), '') as order_name,
        currency,
        abs(revenue) as told,
        coalesce(properties ->> '$.revenue', properties ->> '$.amount', '') = '' as is_whole
    from touchpoints
    where event_type in ('order_refunded', 'order_cancelled') or revenue < 0
),

-- It belongs to the journey of the order that it names, else to its own. Without an amount all of the order goes back.
named as (
    select
        returns.customer_id,
        coalesce(orders.journey_id, returns.journey_id) as journey_id,
        orders.order_name,
        coalesce(returns.currency, orders.currency) as currency,
        coalesce(returns.currency = orders.currency, true) as is_of_order,
        orders.paid,
        coalesce(returns.told, case when returns.is_whole then orders.paid end, 0) as amount,
        returns.event_order
    from returns
    left join orders on returns.customer_id = orders.customer_id and returns.order_name = orders.order_name
),

capped as (
    select
        customer_id,
        journey_id,
        currency,
        case when order_name is not null and is_of_order then least(sum(amount), paid) else sum(amount) end as amount,
        min(event_order) as event_order
    from named
    group by customer_id, journey_id, order_name, currency, is_of_order, paid
),

refunds as (
    select
        customer_id,
        journey_id,
        currency,
        sum(amount) as amount,
        min(event_order) as event_order
    from capped
    group by customer_id, journey_id, currency
)

select * from refunds
