-- Offsets that Kafka had lost before they were landed, and that somebody has accepted as lost.
-- Grain: (topic, generation, partition, cause, from_offset).

with

gaps as (select * from lake.landing_gaps),

sized as (
    select
        topic,
        generation,
        partition,
        from_offset,
        to_offset,
        to_offset - from_offset as offsets_lost,
        cause,
        accepted_at
    from gaps
)

select * from sized
