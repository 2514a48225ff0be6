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

-- What a refund that names nothing can take back: what its journey has brought in.
incomes as (
    select
        journey_id,
        sum(revenue) filter (where revenue > 0) as income,
        arg_min(currency, event_order) as currency
    from touchpoints
    where is_goal
    group by journey_id
),

returns as (
    select
        customer_id,
        journey_id,
        event_order,
        nullif(trim(order_id), '') as order_name,
        currency,
        abs(revenue) as told,
        coalesce(
            nullif(trim(properties ->> '$.revenue'), ''), nullif(trim(properties ->> '$.amount'), '')
        ) is null as is_whole
    from touchpoints
    where event_type in ('order_refunded', 'order_cancelled') or revenue < 0
),

-- It belongs to the journey of the order that it names, else to its own. Without an amount all of the order goes back.
named as (
    select
        returns.customer_id,
        coalesce(orders.journey_id, returns.journey_id) as journey_id,
        orders.order_name,
        returns.order_name is not null as has_name,
        coalesce(returns.currency, orders.currency, incomes.currency) as currency,
        coalesce(returns.currency = orders.currency, true) as is_of_order,
        orders.paid,
        coalesce(returns.told, case when returns.is_whole then orders.paid end, 0) as amount,
        returns.event_order
    from returns
    left join orders on returns.customer_id = orders.customer_id and returns.order_name = orders.order_name
    left join incomes on orders.order_name is null and returns.journey_id = incomes.journey_id
),

capped as (
    select
        customer_id,
        journey_id,
        order_name,
        has_name,
        currency,
        is_of_order,
        case when order_name is not null and is_of_order then least(sum(amount), paid) else sum(amount) end as amount,
        min(event_order) as event_order
    from named
    group by customer_id, journey_id, order_name, has_name, currency, is_of_order, paid
),

-- Those that name nothing, all together: what the named ones have left of the journey's income, where it has a goal.
limited as (
    select
        capped.customer_id,
        capped.journey_id,
        capped.currency,
        capped.event_order,
        case
            when
                not capped.has_name
                and incomes.journey_id is not null
                and coalesce(capped.currency = incomes.currency, true)
                then least(
                    capped.amount,
                    greatest(
                        coalesce(incomes.income, 0) - coalesce(
                            sum(capped.amount) filter (where capped.order_name is not null and capped.is_of_order)
                                over (partition by capped.journey_id),
                            0
                        ),
                        0
                    )
                )
            else capped.amount
        end as amount
    from capped
    left join incomes on capped.journey_id = incomes.journey_id
),

refunds as (
    select
        customer_id,
        journey_id,
        currency,
        sum(amount) as amount,
        min(event_order) as event_order
    from limited
    group by customer_id, journey_id, currency
)

select * from refunds
