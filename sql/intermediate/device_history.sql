-- What happened on each shared device, and whose it was by the logins around it.
-- Grain: (identifier_key, event_key).

with

evidence as not materialized (select * from intermediate.identity_evidence),

customers as (select * from intermediate.customers),

settings as (select * from taxonomy.identity),

shared_devices as (
    select identifier_key, customer_id as device_customer_id
    from customers
    where class = 'device' and refusal in ('shared_device', 'removed_identity')
),

on_shared_devices as (
    select
        shared_devices.identifier_key,
        shared_devices.device_customer_id,
        evidence.event_key,
        evidence.place,
        evidence.is_named
    from evidence
    inner join shared_devices on evidence.identifier_key = shared_devices.identifier_key
    where not evidence.is_void
),

-- Who was logged in: a strong id, or a contact of a known customer. A removed one leaves that somebody was, not who; a
-- suspected placeholder not even that.
logins as (
    select
        evidence.event_key,
        arg_min(
            case when not evidence.is_void and customers.is_known then customers.customer_id end,
            (evidence.strength, evidence.namespace, evidence.identifier)
        ) filter (where not evidence.is_void and customers.is_known) as login,
        bool_or(evidence.is_void) as has_removed
    from evidence
    left join customers on evidence.identifier_key = customers.identifier_key
    where
        evidence.class <> 'device'
        and customers.refusal is distinct from 'suspected_placeholder'
        and evidence.event_key in (select event_key from on_shared_devices)
    group by evidence.event_key
),

authenticated as (
    select
        on_shared_devices.*,
        coalesce(
            logins.login, case when logins.has_removed then on_shared_devices.device_customer_id end
        ) as login
    from on_shared_devices
    left join logins on on_shared_devices.event_key = logins.event_key
),

known as (
    select
        *,
        last_value(login ignore nulls) over (
            device_events rows between unbounded preceding and current row
        ) as login_before,
        first_value(login ignore nulls) over (
            device_events rows between current row and unbounded following
        ) as login_after,
        last_value(login ignore nulls) over (
            device_events rows between unbounded preceding and unbounded following
        ) as last_login
    from authenticated
    window device_events as (partition by identifier_key order by place)
),

owned as (
    select
        known.identifier_key,
        known.event_key,
        known.place,
        coalesce(
            case settings.shared_devices
                when 'device_split' then coalesce(known.login_before, known.login_after)
                when 'last_authenticated' then known.last_login
            end,
            known.device_customer_id
        ) as customer_id
    from known
    cross join settings
)

select * from owned
