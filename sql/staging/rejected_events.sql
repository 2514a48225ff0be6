-- Every record that the contract, or another record of the same event_id, keeps out, and why.
-- Grain: (topic, generation, partition, offset).

with

rejected as (select * from lake.rejected_events),

landed as (select * from staging.landed_records),

broken as (
    select
        rejected.topic,
        rejected.generation,
        rejected.partition,
        rejected."offset",
        rejected.channel,
        rejected.event_id,
        rejected.payload_hash,
        rejected.reason,
        rejected.field,
        rejected.detail
    from rejected
    -- A replay moves a record in two commits: between them it lies in both tables, and is accepted.
    left join landed
        on rejected.topic = landed.topic
        and rejected.generation = landed.generation
        and rejected.partition = landed.partition
        and rejected."offset" = landed."offset"
    where landed.topic is null
),

conflicting as (
    select
        topic,
        generation,
        partition,
        "offset",
        channel,
        refused_event_id as event_id,
        refused_payload_hash as payload_hash,
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
