-- Each event that names somebody, with its customer and its place in that customer's order.
-- Grain: (event_id).

with

events as (select * from staging.events),

owners as (select * from intermediate.event_owners),

event_identifiers as (select * from staging.event_identifiers),

devices as (
    select event_id, arg_min(namespace || ':' || identifier, (strength, namespace)) as device_identifier
    from event_identifiers
    where class = 'device' and role = 'named'
    group by event_id
),

identified as (
    select
        owners.customer_id,
        coalesce(devices.device_identifier, 'channel:' || events.channel) as source_device,
        -- The one order of a customer's events (law L3); never the order of arrival.
        row_number() over (
            partition by owners.customer_id
            order by events.occurred_at, events.sequence nulls last, events.event_id
        ) as event_order,
        events.* exclude (copies)
    from events
    inner join owners on events.event_id = owners.event_id
    left join devices on events.event_id = devices.event_id
)

select * from identified
