-- What events say about who is who; void where the identifier was removed later.
-- Grain: (event_key, identifier_key).

with

event_identifiers as (select * from staging.event_identifiers),

removals as (select * from intermediate.identity_removals),

-- Few of many: who says that two are one person, and may name one of them on both sides.
merging as (
    select *
    from event_identifiers
    where role = 'merged_with'
),

named_by_both as (
    select event_identifiers.event_key, event_identifiers.identifier_key
    from event_identifiers
    inner join merging
        on event_identifiers.event_key = merging.event_key
        and event_identifiers.identifier_key = merging.identifier_key
    where event_identifiers.role = 'named'
),

said as (
    select *
    from event_identifiers
    where role = 'named'
    union all
    select distinct merging.*
    from merging
    left join named_by_both
        on merging.event_key = named_by_both.event_key
        and merging.identifier_key = named_by_both.identifier_key
    where named_by_both.event_key is null
),

evidence as (
    select
        said.event_key,
        said.identifier_key,
        said.place,
        said.namespace,
        said.identifier,
        said.class,
        said.strength,
        said.role = 'named' as is_named,
        coalesce(said.place <= removals.removed_at, false) as is_void
    from said
    left join removals on said.identifier_key = removals.identifier_key
)

select * from evidence
