-- Whose each event is: its strongest identifier's customer; on a shared device, by the policy.
-- Grain: (event_key).

with

evidence as not materialized (select * from intermediate.identity_evidence),

customers as (select * from intermediate.customers),

device_history as (select * from intermediate.device_history),

settings as (select * from taxonomy.identity),

-- A suspected placeholder owns what names nobody else, and no more: a thousand people's events would be its own.
suspected as (
    select identifier_key
    from customers
    where refusal = 'suspected_placeholder'
),

-- An event names each namespace once, and each has a strength of its own.
strongest as (
    select
        event_key,
        coalesce(
            arg_min(identifier_key, strength) filter (
                where not is_void and identifier_key not in (select identifier_key from suspected)
            ),
            arg_min(identifier_key, strength) filter (where not is_void)
        ) as identifier_key,
        -- Where it came from, also where that identifier tells nothing any more about who it was.
        arg_min(identifier_key, strength) filter (where class = 'device') as device_key
    from evidence
    where is_named
    group by event_key
),

devices as (
    select identifier_key, any_value(namespace || ':' || identifier) as source_device
    from evidence
    where class = 'device'
    group by identifier_key
),

owners as (
    select
        strongest.event_key,
        strongest.identifier_key,
        coalesce(device_history.customer_id, customers.customer_id) as customer_id,
        devices.source_device,
        case
            when device_history.event_key is null then 'strongest_identifier'
            when settings.shared_devices = 'none' then 'shared_device'
            else 'shared_device_' || settings.shared_devices
        end as evidence
    from strongest
    inner join customers on strongest.identifier_key = customers.identifier_key
    left join device_history
        on strongest.identifier_key = device_history.identifier_key
        and strongest.event_key = device_history.event_key
    left join devices on strongest.device_key = devices.identifier_key
    cross join settings
)

select * from owners
