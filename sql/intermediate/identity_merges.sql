-- Who was said to be one person, in so many words; no limit and no conflict stops it.
-- Grain: (from_key, to_key).

with

evidence as (select * from intermediate.identity_evidence),

event_identifiers as not materialized (select * from staging.event_identifiers),

merging as (
    select distinct event_key
    from event_identifiers
    where role = 'merged_with'
),

-- Few of many, so they are picked out before anything is joined.
held as (
    select event_key, identifier_key
    from evidence
    where not is_void and event_key in (select event_key from merging)
),

-- One subject on each side: the strongest identifier there. What else the event names is evidence like any other's.
sides as (
    select
        event_identifiers.event_key,
        event_identifiers.role,
        arg_min(
            event_identifiers.identifier_key,
            (event_identifiers.strength, event_identifiers.namespace, event_identifiers.identifier)
        ) as identifier_key
    from event_identifiers
    inner join held
        on event_identifiers.event_key = held.event_key
        and event_identifiers.identifier_key = held.identifier_key
    where event_identifiers.role <> 'removed'
    group by event_identifiers.event_key, event_identifiers.role
),

explicit_merges as (
    select distinct
        least(named.identifier_key, merged.identifier_key) as from_key,
        greatest(named.identifier_key, merged.identifier_key) as to_key
    from sides as named
    inner join sides as merged on named.event_key = merged.event_key
    where named.role = 'named' and merged.role = 'merged_with' and named.identifier_key <> merged.identifier_key
)

select * from explicit_merges
