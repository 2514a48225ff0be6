-- Which customer each identifier belongs to, since when, and by which evidence.
-- Grain: (namespace, identifier).

with

customers as (select * from intermediate.customers),

mapped as (
    select
        namespace,
        identifier,
        customer_id,
        class,
        first_seen_at,
        last_seen_at,
        first_event_id,
        events,
        case
            when refusal is not null then refusal
            when class = 'strong' then 'strong_identifier'
            when is_known then 'seen_together'
            else 'anonymous'
        end as evidence
    from customers
)

select * from mapped
