-- Evidence that two identifiers are one person: they were seen in one event, and both may link.
-- Grain: (from_key, to_key).

with

evidence as (select * from intermediate.identity_evidence),

identifiers as (select * from intermediate.identifiers),

explicit_merges as (select * from intermediate.identity_merges),

linking as (
    select evidence.*
    from evidence
    inner join identifiers on evidence.identifier_key = identifiers.identifier_key
    where identifiers.refusal is null and not evidence.is_void
),

-- A star around each event's strongest identifier connects the same as all its pairs do.
stars as (
    select
        identifier_key,
        class,
        place,
        first_value(identifier_key) over of_one_event as centre_key,
        first_value(class) over of_one_event as centre_class
    from linking
    window of_one_event as (partition by event_key order by strength, namespace, identifier)
),

pairs as (
    select
        least(centre_key, identifier_key) as from_key,
        greatest(centre_key, identifier_key) as to_key,
        -- Tried strong first, then contact, then the rest: the smaller, the earlier.
        case class when 'strong' then 10 when 'contact' then 20 else 30 end
        + case centre_class when 'strong' then 1 when 'contact' then 2 else 3 end as tier,
        place
    from stars
    where centre_key <> identifier_key
    union all
    select from_key, to_key, 0 as tier, null as place from explicit_merges
),

links as (
    select from_key, to_key, min(tier) as tier, min(place) as first_place
    from pairs
    group by from_key, to_key
)

select * from links
