-- Which customer each identifier belongs to, since when, and by which evidence; on a shared device one row per period.
-- Grain: (namespace, identifier, since).

with

customers as (select * from intermediate.customers),

device_history as (select * from intermediate.device_history),

changes as (
    select
        *,
        coalesce(customer_id <> lag(customer_id) over device_events, true) as is_change
    from device_history
    window device_events as (partition by identifier_key order by place)
),

numbered as (
    select *, count(*) filter (where is_change) over (partition by identifier_key order by place) as period
    from changes
),

periods as (
    select identifier_key, period, customer_id, min(place.occurred_at) as since
    from numbered
    group by identifier_key, period, customer_id
),

-- Two logins at one instant leave one period: the later one's.
dated as (
    select identifier_key, since, arg_max(customer_id, period) as customer_id
    from periods
    group by identifier_key, since
),

mapped as (
    select
        customers.namespace,
        customers.identifier,
        coalesce(dated.customer_id, customers.customer_id) as customer_id,
        coalesce(dated.since, customers.first_seen_at) as since,
        customers.class,
        customers.first_seen_at,
        customers.last_seen_at,
        customers.first_event_id,
        customers.events,
        case
            when customers.refusal is not null then customers.refusal
            when customers.class = 'strong' then 'strong_identifier'
            when customers.is_known then 'seen_together'
            else 'anonymous'
        end as evidence,
        customers.identifier_key
    from customers
    left join dated on customers.identifier_key = dated.identifier_key
)

select * from mapped
