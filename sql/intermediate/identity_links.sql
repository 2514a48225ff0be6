-- Evidence that two identifiers are one person: they were seen in one event, and both may link.
-- Grain: (from_key, to_key).

with

event_identifiers as (select * from staging.event_identifiers),

identifiers as (select * from intermediate.identifiers),

linking as (
    select event_identifiers.event_id, identifiers.identifier_key
    from event_identifiers
    inner join identifiers
        on event_identifiers.namespace = identifiers.namespace
        and event_identifiers.identifier = identifiers.identifier
    where identifiers.refusal is null
),

-- A star around each event's strongest identifier connects the same as all its pairs do.
stars as (
    select identifier_key, min(identifier_key) over (partition by event_id) as centre_key
    from linking
),

links as (
    select distinct centre_key as from_key, identifier_key as to_key
    from stars
    where centre_key <> identifier_key
),

both_ways as (
    select from_key, to_key from links
    union
    select to_key, from_key from links
)

select * from both_ways
