-- What became of each landed record that keeps the contract: accepted, a duplicate, or a conflict.
-- Grain: (topic, generation, partition, offset).

with

landed as (select * from lake.events),

-- 128 bits of an event's name: narrow to join on, and the same in every build.
records as not materialized (
    select
        topic,
        generation,
        partition,
        "offset",
        channel,
        event_id,
        payload_hash,
        md5_number(event_id) as event_key,
        -- 64 bits of its sha256: enough to see that a record at the same place is another one.
        ('0x' || left(payload_hash, 16))::ubigint as payload_mark,
        received_at,
        kafka_timestamp
    from landed
),

repeated as (
    select event_key
    from records
    group by event_key
    having count(*) > 1
),

-- Producers retry, so one event_id can land twice, years apart. The first by (received_at, hash) stays.
copies as (
    select
        records.*,
        row_number() over event_copies as copy_order,
        first_value(records.payload_hash) over event_copies as kept_hash
    from records
    inner join repeated on records.event_key = repeated.event_key
    window event_copies as (
        partition by records.event_key
        order by
            records.received_at nulls last, records.payload_hash, records.kafka_timestamp nulls last, records.topic,
            records.generation, records.partition, records."offset"
    )
),

judged as (
    select
        * exclude (copy_order, kept_hash),
        case
            when copy_order = 1 then 'accepted'
            when payload_hash = kept_hash then 'duplicate'
            else 'conflicting_duplicate'
        end as outcome
    from copies
    union all
    select records.*, 'accepted' as outcome
    from records
    left join repeated on records.event_key = repeated.event_key
    where repeated.event_key is null
),

-- Texts are what makes a table large: what was kept bears its name in staging.events.
outcomes as (
    select
        * exclude (event_id, payload_hash, received_at, kafka_timestamp),
        case when outcome <> 'accepted' then event_id end as refused_event_id,
        case when outcome <> 'accepted' then payload_hash end as refused_payload_hash
    from judged
)

select * from outcomes
