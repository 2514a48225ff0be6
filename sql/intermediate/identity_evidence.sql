-- What events say about who is who; void where the identifier was removed later.
-- Grain: (event_key, identifier_key).

with

event_identifiers as (select * from staging.event_identifiers),

removals as (select * from intermediate.identity_removals),

named as (
    select *
    from event_identifiers
    where role = 'named'
),

-- An event that merges somebody with themselves names them once.
merged as (
    select distinct event_identifiers.*
    from event_identifiers
    where
        event_identifiers.role = 'merged_with'
        and not exists (
            select *
            from named
            where
                named.event_key = event_identifiers.event_key
                and named.identifier_key = event_identifiers.identifier_key
        )
),

said as (
    select * from named
    union all
    select * from merged
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
