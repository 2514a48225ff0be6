-- Every record that the contract, or another record of the same event_id, keeps out, and why.
-- Grain: (topic, partition, offset).

with

rejected as (select * from lake.rejected_events),

landed as (select * from staging.landed_records),

broken as (
    select topic, partition, "offset", channel, event_id, payload_hash, reason, field, detail
    from rejected
),

conflicting as (
    select
        topic,
        partition,
        "offset",
        channel,
        event_id,
        payload_hash,
        outcome as reason,
        'event_id' as field,
        'another payload with this event_id is kept' as detail
    from landed
    where outcome = 'conflicting_duplicate'
),

all_rejected as (
    select * from broken
    union all
    select * from conflicting
)

select * from all_rejected
