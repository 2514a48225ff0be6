-- Each event with what its customer had done before it: all that a rule or a step may ask.
-- Grain: (event_id).

with

events as (select * from intermediate.identified_events),

goal_events as (select * from taxonomy.goal_events),

marked as (
    select
        events.*,
        goal_events.event_id is not null as is_goal,
        case when events.event_type = 'order_completed' then events.occurred_at end as ordered_at,
        case when goal_events.event_id is not null then events.occurred_at end as reached_goal_at,
        case when events.event_type = 'order_delivered' then events.occurred_at end as delivered_at
    from events
    left join goal_events on events.event_id = goal_events.event_id
),

remembered as (
    select
        marked.* exclude (ordered_at, reached_goal_at, delivered_at),
        count(ordered_at) over earlier as prior_orders,
        count(reached_goal_at) over earlier as prior_goals,
        epoch(occurred_at - max(ordered_at) over earlier) / 86400 as days_since_order,
        epoch(occurred_at - max(reached_goal_at) over earlier) / 86400 as days_since_goal,
        epoch(occurred_at - max(delivered_at) over earlier) / 86400 as days_since_delivery,
        max(reached_goal_at) over earlier as last_goal_at
    from marked
    window earlier as (
        partition by customer_id
        order by event_order
        rows between unbounded preceding and 1 preceding
    )
)

select * from remembered
