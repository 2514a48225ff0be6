-- Each event that names somebody: its customer, its place in that customer's order, and what came before it.
-- Grain: (event_key).

with

events as (select * from staging.events),

owners as (select * from intermediate.event_owners),

goal_events as (select * from taxonomy.goal_events),

-- What the windows need, and nothing wide.
owned as (
    select
        owners.customer_id,
        md5_number(owners.customer_id) as customer_key,
        events.event_key,
        events.event_id,
        coalesce(owners.source_device, 'channel:' || events.channel) as source_device,
        events.occurred_at,
        events.sequence,
        events.event_type,
        events.channel,
        events.initiator,
        events.explicit_session_id,
        goal_events.event_key is not null as is_goal,
        case when events.event_type = 'order_completed' then events.occurred_at end as ordered_at,
        case when goal_events.event_key is not null then events.occurred_at end as reached_goal_at,
        case when events.event_type = 'order_delivered' then events.occurred_at end as delivered_at
    from events
    inner join owners on events.event_key = owners.event_key
    left join goal_events on events.event_key = goal_events.event_key
),

remembered as (
    select
        owned.* exclude (ordered_at, reached_goal_at, delivered_at),
        row_number() over customer_events as event_order,
        count(ordered_at) over earlier as prior_orders,
        count(reached_goal_at) over earlier as prior_goals,
        (epoch_us(occurred_at) - epoch_us(max(ordered_at) over earlier)) / 1e6 / 86400 as days_since_order,
        (epoch_us(occurred_at) - epoch_us(max(reached_goal_at) over earlier)) / 1e6 / 86400 as days_since_goal,
        (epoch_us(occurred_at) - epoch_us(max(delivered_at) over earlier)) / 1e6 / 86400 as days_since_delivery,
        max(reached_goal_at) over earlier as last_goal_at
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
)

select * from remembered
