-- Each event that names somebody: its customer, its place in that customer's order, and what came before it.
-- Grain: (event_key).

with

events as (select * from staging.events),

names as (
    select event_key, event_id, explicit_session_id, sequence, event_type, channel, initiator
    from staging.events
),

owners as (select * from intermediate.event_owners),

goal_events as (select * from taxonomy.goal_events),

-- What the order needs, and nothing wide.
owned as (
    select
        md5_number(owners.customer_id) as customer_key,
        events.event_key,
        events.event_id,
        events.occurred_at,
        events.sequence,
        goal_events.event_key is not null as is_goal,
        case when events.event_type = 'order_completed' then events.occurred_at end as ordered_at,
        case when goal_events.event_key is not null then events.occurred_at end as reached_goal_at,
        case when events.event_type = 'order_delivered' then events.occurred_at end as delivered_at
    from events
    inner join owners on events.event_key = owners.event_key
    left join goal_events on events.event_key = goal_events.event_key
),

ordered as (
    select
        customer_key,
        event_key,
        is_goal,
        occurred_at,
        row_number() over customer_events as event_order,
        count(ordered_at) over earlier as prior_orders,
        count(reached_goal_at) over earlier as prior_goals,
        max(ordered_at) over earlier as last_order_at,
        max(reached_goal_at) over earlier as last_goal_at,
        max(delivered_at) over earlier as last_delivery_at
    from owned
    -- The one order of a customer's events (law L3); never the order of arrival.
    window
        customer_events as (
            partition by customer_key
            order by occurred_at, sequence nulls last, event_id
        ),
        earlier as (
            partition by customer_key
            order by occurred_at, sequence nulls last, event_id
            rows between unbounded preceding and 1 preceding
        )
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

        -- what came before it
        ordered.event_order,
        ordered.prior_orders,
        ordered.prior_goals,
        (epoch_us(ordered.occurred_at) - epoch_us(ordered.last_order_at)) / 1e6 / 86400 as days_since_order,
        (epoch_us(ordered.occurred_at) - epoch_us(ordered.last_goal_at)) / 1e6 / 86400 as days_since_goal,
        (epoch_us(ordered.occurred_at) - epoch_us(ordered.last_delivery_at)) / 1e6 / 86400 as days_since_delivery,
        ordered.last_goal_at
    from ordered
    inner join owners on ordered.event_key = owners.event_key
    inner join names on ordered.event_key = names.event_key
)

select * from remembered
