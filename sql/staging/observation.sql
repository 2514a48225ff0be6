-- Between which instants we look: the first event, and `as_of`, after which nothing is known.
-- Grain: one row.

with

events as (select * from staging.events),

landed as (select * from lake.events),

settings as (select * from taxonomy.request),

-- An event may be dated after its landing, by a device that is ahead: that instant is not over yet, for anybody.
-- A file has no lander: what it says of itself serves. Rows landed before the lander had a clock have Kafka's.
clocks as (
    select coalesce(max(landed_at), max(coalesce(kafka_timestamp, received_at, occurred_at))) as last_landed_at
    from landed
),

observed as (
    select
        min(events.occurred_at) as observed_from,
        coalesce(
            max(events.occurred_at) filter (where events.occurred_at <= clocks.last_landed_at),
            max(clocks.last_landed_at)
        ) as last_occurred_at
    from events
    cross join clocks
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
