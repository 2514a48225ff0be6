-- Whose each event is: its strongest identifier's customer; on a shared device, by the policy.
-- Grain: (event_id).

with

event_identifiers as (select * from staging.event_identifiers),

customers as (select * from intermediate.customers),

settings as (select * from taxonomy.settings),

-- The strongest identifier of each event, and its device.
strongest as (
    select
        event_identifiers.event_id,
        event_identifiers.occurred_at,
        event_identifiers.sequence,
        event_identifiers.class,
        customers.namespace,
        customers.identifier,
        customers.customer_id,
        customers.is_known,
        customers.refusal
    from event_identifiers
    inner join customers
        on event_identifiers.namespace = customers.namespace
        and event_identifiers.identifier = customers.identifier
    qualify
        row_number() over (
            partition by event_identifiers.event_id
            order by event_identifiers.strength, event_identifiers.namespace, event_identifiers.identifier
        ) = 1
),

shared_devices as (
    select event_identifiers.event_id, event_identifiers.namespace, event_identifiers.identifier
    from event_identifiers
    inner join customers
        on event_identifiers.namespace = customers.namespace
        and event_identifiers.identifier = customers.identifier
    where customers.refusal = 'shared_device'
),

-- Everything that happened on a shared device, and who was logged in: a strong id, or a contact of a known customer.
on_shared_devices as (
    select
        shared_devices.namespace,
        shared_devices.identifier,
        strongest.event_id,
        strongest.occurred_at,
        strongest.sequence,
        strongest.refusal = 'shared_device' and strongest.namespace = shared_devices.namespace
        and strongest.identifier = shared_devices.identifier as is_anonymous,
        case when strongest.class <> 'device' and strongest.is_known then strongest.customer_id end as login
    from shared_devices
    inner join strongest on shared_devices.event_id = strongest.event_id
),

logins as (
    select
        event_id,
        is_anonymous,
        last_value(login ignore nulls) over (
            device_history rows between unbounded preceding and current row
        ) as login_before,
        first_value(login ignore nulls) over (
            device_history rows between current row and unbounded following
        ) as login_after,
        last_value(login ignore nulls) over (
            device_history rows between unbounded preceding and unbounded following
        ) as last_login
    from on_shared_devices
    window device_history as (partition by namespace, identifier order by occurred_at, sequence nulls last, event_id)
),

owners as (
    select
        strongest.event_id,
        strongest.namespace,
        strongest.identifier,
        case
            when not coalesce(logins.is_anonymous, false) then strongest.customer_id
            when settings.shared_devices = 'device_split'
                then coalesce(logins.login_before, logins.login_after, strongest.customer_id)
            when settings.shared_devices = 'last_authenticated' then coalesce(logins.last_login, strongest.customer_id)
            else strongest.customer_id
        end as customer_id,
        case
            when not coalesce(logins.is_anonymous, false) then 'strongest_identifier'
            when settings.shared_devices = 'none' then 'shared_device'
            else 'shared_device_' || settings.shared_devices
        end as evidence
    from strongest
    left join logins on strongest.event_id = logins.event_id and logins.is_anonymous
    cross join settings
)

select * from owners
