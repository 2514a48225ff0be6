-- Whose each event is: its strongest identifier's customer; on a shared device, by the policy.
-- Grain: (event_key).

with

evidence as not materialized (select * from intermediate.identity_evidence),

customers as (select * from intermediate.customers),

device_history as (select * from intermediate.device_history),

settings as (select * from taxonomy.identity),

-- An event names each namespace once, and each known one has a strength of its own (1000: not known). Apart, both are
-- numbers: ten million events' states fit into memory.
strongest as (
    select
        event_key,
        coalesce(
            arg_min(identifier_key, strength) filter (where strength < 1000 and not is_void),
            arg_min(identifier_key, namespace) filter (where strength >= 1000 and not is_void)
        ) as identifier_key,
        -- Where it came from, also where that identifier tells nothing any more about who it was.
        coalesce(
            arg_min(identifier_key, strength) filter (where strength < 1000 and class = 'device'),
            arg_min(identifier_key, namespace) filter (where strength >= 1000 and class = 'device')
        ) as device_key
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
