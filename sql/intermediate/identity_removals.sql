-- Until when what an identifier said about anybody is void: its last removal.
-- Grain: (identifier_key).

with

event_identifiers as (select * from staging.event_identifiers),

removals as (
    select
        identifier_key,
        max(place) as removed_at
    from event_identifiers
    where role = 'removed'
    group by identifier_key
)

select * from removals
