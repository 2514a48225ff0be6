-- Fields and namespaces that nobody has declared and producers send: kept in the event, counted here.
-- Grain: (topic, field).

with

landed as (select * from lake.events),

records as (select * from staging.landed_records),

undeclared as (select * from staging.undeclared_identifiers),

nearest as (select * from intermediate.undeclared_namespaces),

undeclared_records as (
    select records.topic, records.generation, records.partition, records."offset", undeclared.field
    from undeclared
    inner join records on undeclared.event_key = records.event_key
    where records.outcome <> 'conflicting_duplicate'
),

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
    union all
    select
        landed.topic, landed.generation, landed.partition, landed."offset", landed.kafka_timestamp,
        undeclared_records.field
    from undeclared_records
    inner join landed
        on undeclared_records.topic = landed.topic
        and undeclared_records.generation = landed.generation
        and undeclared_records.partition = landed.partition
        and undeclared_records."offset" = landed."offset"
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
),

named as (
    select drift.*, nearest.nearest_namespace
    from drift
    left join nearest on drift.field in ('identifiers.' || nearest.namespace, 'properties.with.' || nearest.namespace)
)

select * from named
