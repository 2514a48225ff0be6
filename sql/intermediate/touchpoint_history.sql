-- Each event that names somebody: its customer, its place in that customer's order, and what came before it.
-- Grain: (event_key).

with

events as (select * from staging.events),

names as (
    select event_key, event_id, explicit_session_id, sequence, event_type, channel, initiator
    from staging.events
),

owners as (select * from intermediate.event_owners),

event_ranks as (select * from taxonomy.event_ranks),

-- What the order needs, and nothing wide.
owned as (
    select
        md5_number(owners.customer_id) as customer_key,
        events.event_key,
        events.event_id,
        events.occurred_at,
        events.sequence,
        events.event_type,
        event_ranks.is_goal,
        event_ranks.is_return,
        event_ranks.stage_rank,
        case when events.revenue is not null then events.event_key end as amount_key,
        case
            when (events.event_type = 'order_completed' or event_ranks.is_goal) and not event_ranks.is_return
                then nullif(trim(events.order_id), '')
        end as order_name
    from events
    inner join owners on events.event_key = owners.event_key
    inner join event_ranks on events.event_key = event_ranks.event_key
),

-- A pixel, a server and a reloaded page tell of one order: the first that reaches the goal counts, else the first.
-- The first of them that has an amount says how much.
tellings as (
    select
        event_key,
        first_value(event_key) over all_tellings as counted_key,
        first_value(amount_key ignore nulls) over all_tellings as amount_key
    from owned
    where order_name is not null
    window all_tellings as (
        partition by customer_key, order_name, event_type
        order by not is_goal, occurred_at, sequence nulls last, stage_rank, event_id
        rows between unbounded preceding and unbounded following
    )
),

-- Few count without knowing their amount themselves.
amounts as (
    select event_key, amount_key
    from tellings
    where event_key = counted_key and event_key <> amount_key
),

repeats as (
    select *
    from tellings
    where event_key <> counted_key
),

counted as (
    select
        owned.*,
        repeats.event_key is not null as is_repeated_order,
        owned.is_goal and repeats.event_key is null as reaches_goal,
        case
            when owned.event_type = 'order_completed' and not owned.is_return and repeats.event_key is null
                then owned.occurred_at
        end as ordered_at,
        case when owned.is_goal and repeats.event_key is null then owned.occurred_at end as reached_goal_at,
        case when owned.event_type = 'order_delivered' then owned.occurred_at end as delivered_at
    from owned
    left join repeats on owned.event_key = repeats.event_key
),

ordered as (
    select
        customer_key,
        event_key,
        is_repeated_order,
        is_return,
        reaches_goal as is_goal,
        occurred_at,
        row_number() over customer_events as event_order,
        count(ordered_at) over earlier as prior_orders,
        count(reached_goal_at) over earlier as prior_goals,
        max(ordered_at) over earlier as last_order_at,
        max(reached_goal_at) over earlier as last_goal_at,
        max(delivered_at) over earlier as last_delivery_at
    from counted
    -- The one order of a customer's events (law L3); never the order of arrival.
    window
        customer_events as (
            partition by customer_key
            order by occurred_at, sequence nulls last, is_goal, stage_rank, event_id
        ),
        earlier as (
            partition by customer_key
            order by occurred_at, sequence nulls last, is_goal, stage_rank, event_id
            rows between unbounded preceding and 1 preceding
        )
),

dated as (
    select
        *,
        (epoch_us(occurred_at) - epoch_us(last_order_at)) / 1e6 / 86400 as days_since_order,
        (epoch_us(occurred_at) - epoch_us(last_goal_at)) / 1e6 / 86400 as days_since_goal,
        (epoch_us(occurred_at) - epoch_us(last_delivery_at)) / 1e6 / 86400 as days_since_delivery
    from ordered
),

-- An order told again is read with the history of the telling that counts: it is no second order after the first.
retold as (
    select
        repeats.event_key,
        dated.prior_orders,
        dated.prior_goals,
        dated.days_since_order,
        dated.days_since_goal,
        dated.days_since_delivery
    from repeats
    inner join dated on repeats.counted_key = dated.event_key
),

remembered as (
    select
        -- ids
        owners.customer_id,
        ordered.customer_key,
        ordered.event_key,
        names.event_id,
        coalesce(owners.source_device, 'channel:' || names.channel) as source_device,
        names.explicit_session_id,

        -- what happened
        ordered.occurred_at,
        names.sequence,
        names.event_type,
        names.channel,
        names.initiator,
        ordered.is_goal,
        ordered.is_repeated_order,
        ordered.is_return,
        -- Which other telling of the order knows its amount.
        amounts.amount_key,

        -- what came before it
        ordered.event_order,
        case when ordered.is_repeated_order then retold.prior_orders else ordered.prior_orders end as prior_orders,
        case when ordered.is_repeated_order then retold.prior_goals else ordered.prior_goals end as prior_goals,
        case when ordered.is_repeated_order then retold.days_since_order else ordered.days_since_order end
            as days_since_order,
        case when ordered.is_repeated_order then retold.days_since_goal else ordered.days_since_goal end
            as days_since_goal,
        case when ordered.is_repeated_order then retold.days_since_delivery else ordered.days_since_delivery end
            as days_since_delivery,
        -- ... and before this telling of it, if it is an order told again.
        ordered.prior_goals as goals_before,
        ordered.last_goal_at
    from dated as ordered
    left join retold on ordered.event_key = retold.event_key
    left join amounts on ordered.event_key = amounts.event_key
    inner join owners on ordered.event_key = owners.event_key
    inner join names on ordered.event_key = names.event_key
)

select * from remembered
