-- Strong identifiers that were seen with more devices or contacts than one customer has: nobody's, like a placeholder.
-- Grain: (identifier_key).

with

evidence as not materialized (select * from intermediate.identity_evidence),

namespaces as (select * from taxonomy.namespaces),

settings as (select * from taxonomy.identity),

-- An event names each namespace once: who has few events was seen with few others.
most_at_once as (
    select
        count(*) filter (where class = 'device') as devices,
        count(*) filter (where class = 'contact') as contacts
    from namespaces
),

frequent as (
    select evidence.identifier_key
    from evidence
    cross join most_at_once
    cross join settings
    where evidence.class = 'strong' and evidence.is_named and not evidence.is_void
    group by evidence.identifier_key, most_at_once.devices, most_at_once.contacts, settings.most_devices, settings.most_contacts
    having
        count(*) * most_at_once.devices > settings.most_devices
        or count(*) * most_at_once.contacts > settings.most_contacts
),

strong as (
    select event_key, identifier_key
    from evidence
    where identifier_key in (select identifier_key from frequent) and is_named and not is_void
),

companions as (
    select distinct strong.identifier_key, evidence.class, evidence.identifier_key as companion_key
    from strong
    inner join evidence on strong.event_key = evidence.event_key
    where evidence.class <> 'strong' and evidence.is_named and not evidence.is_void
),

counted as (
    select
        identifier_key,
        count(*) filter (where class = 'device') as devices,
        count(*) filter (where class = 'contact') as contacts
    from companions
    group by identifier_key
),

suspected as (
    select counted.identifier_key
    from counted
    cross join settings
    where counted.devices > settings.most_devices or counted.contacts > settings.most_contacts
)

select * from suspected
