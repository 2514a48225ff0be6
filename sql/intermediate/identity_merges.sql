-- Who was said to be one person, in so many words; no limit and no conflict stops it.
-- Grain: (from_key, to_key).

with

evidence as (select * from intermediate.identity_evidence),

event_identifiers as (select * from staging.event_identifiers),

-- One subject on each side: the strongest identifier there. What else the event names is evidence like any other's.
sides as (
    select event_id, role, arg_min(identifier_key, (strength, namespace, identifier)) as identifier_key
    from event_identifiers
    where
        role <> 'removed'
        and event_id in (select event_id from event_identifiers where role = 'merged_with')
        and (event_id, identifier_key) in (select (event_id, identifier_key) from evidence where not is_void)
    group by event_id, role
),

explicit_merges as (
    select distinct
        least(named.identifier_key, merged.identifier_key) as from_key,
        greatest(named.identifier_key, merged.identifier_key) as to_key
    from sides as named
    inner join sides as merged on named.event_id = merged.event_id
    where named.role = 'named' and merged.role = 'merged_with' and named.identifier_key <> merged.identifier_key
)

select * from explicit_merges
