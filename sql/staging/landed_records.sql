-- What became of each landed record that keeps the contract: accepted, a duplicate, or a conflict.
-- Grain: (topic, generation, partition, offset).

with

landed as (select * from lake.events),

-- Producers retry, so one event_id can land twice, years apart. The first by (received_at, hash) stays.
copies as (
    select
        topic,
        generation,
        partition,
        "offset",
        channel,
        event_id,
        payload_hash,
        row_number() over event_copies as copy_order,
        first_value(payload_hash) over event_copies as kept_hash
    from landed
    window event_copies as (
        partition by event_id
        order by received_at nulls last, payload_hash, kafka_timestamp nulls last, topic, generation, partition, "offset"
    )
),

outcomes as (
    select
        topic,
        generation,
        partition,
        "offset",
        channel,
        event_id,
        payload_hash,
        case
            when copy_order = 1 then 'accepted'
            when payload_hash = kept_hash then 'duplicate'
            else 'conflicting_duplicate'
        end as outcome
    from copies
)

select * from outcomes
