-- Fields that the contract does not know and producers send: kept in the event, counted here.
-- Grain: (topic, field).

with

landed as (select * from lake.events),

unknown as (
    select
        topic,
        generation,
        partition,
        "offset",
        kafka_timestamp,
        unnest(json_keys(extra)) as field
    from landed
    where extra is not null
),

ranked as (
    select
        *,
        row_number() over (
            partition by topic, field
            order by generation, kafka_timestamp nulls last, partition, "offset"
        ) as arrival
    from unknown
),

drift as (
    select
        topic,
        field,
        count(*) as records,
        max(generation) filter (where arrival = 1) as first_generation,
        max(partition) filter (where arrival = 1) as first_partition,
        max("offset") filter (where arrival = 1) as first_offset,
        max(kafka_timestamp) filter (where arrival = 1) as first_seen_at
    from ranked
    group by topic, field
)

select * from drift
