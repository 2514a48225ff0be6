-- Whose each event is: its strongest identifier's customer; on a shared device, by the policy.
-- Grain: (event_id).

with

evidence as (select * from intermediate.identity_evidence),

customers as (select * from intermediate.customers),

device_history as (select * from intermediate.device_history),

settings as (select * from taxonomy.identity),

strongest as (
    select
        event_id,
        arg_min(identifier_key, (strength, namespace, identifier)) as identifier_key
    from evidence
    where is_named and not is_void
    group by event_id
),

owners as (
    select
        strongest.event_id,
        strongest.identifier_key,
        coalesce(device_history.customer_id, customers.customer_id) as customer_id,
        case
            when device_history.event_id is null then 'strongest_identifier'
            when settings.shared_devices = 'none' then 'shared_device'
            else 'shared_device_' || settings.shared_devices
        end as evidence
    from strongest
    inner join customers on strongest.identifier_key = customers.identifier_key
    left join device_history
        on strongest.identifier_key = device_history.identifier_key
        and strongest.event_id = device_history.event_id
    cross join settings
)

select * from owners
