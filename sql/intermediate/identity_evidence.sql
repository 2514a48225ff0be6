-- What events say about who is who; void where the identifier was removed later.
-- Grain: (event_id, identifier_key).

with

event_identifiers as (select * from staging.event_identifiers),

removals as (select * from intermediate.identity_removals),

evidence as (
    select
        event_identifiers.event_id,
        event_identifiers.identifier_key,
        any_value(event_identifiers.place) as place,
        any_value(event_identifiers.namespace) as namespace,
        any_value(event_identifiers.identifier) as identifier,
        any_value(event_identifiers.class) as class,
        any_value(event_identifiers.strength) as strength,
        bool_or(event_identifiers.role = 'named') as is_named,
        bool_or(coalesce(event_identifiers.place <= removals.removed_at, false)) as is_void
    from event_identifiers
    left join removals on event_identifiers.identifier_key = removals.identifier_key
    where event_identifiers.role <> 'removed'
    group by event_identifiers.event_id, event_identifiers.identifier_key
)

select * from evidence
