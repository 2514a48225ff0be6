-- Between which instants we look: the first event, and `as_of`, after which nothing is known.
-- Grain: one row.

with

events as (select * from staging.events),

settings as (select * from taxonomy.request),

observed as (
    select min(occurred_at) as observed_from, max(occurred_at) as last_occurred_at
    from events
),

bounds as (
    select
        observed.observed_from,
        -- Never the wall clock: the same events give the same tables whenever they are built.
        coalesce(settings.requested_as_of, observed.last_occurred_at) as as_of
    from observed
    cross join settings
)

select * from bounds
