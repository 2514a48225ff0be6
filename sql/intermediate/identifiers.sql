-- Every identifier seen, and whether it may link the others that it is seen with.
-- Grain: (namespace, identifier).

with

event_identifiers as (select * from staging.event_identifiers),

namespaces as (select * from taxonomy.namespaces),

strong as (
    select event_id, namespace as strong_namespace, identifier as strong_identifier
    from event_identifiers
    where class = 'strong'
),

seen as (
    select
        event_identifiers.namespace,
        event_identifiers.identifier,
        min(event_identifiers.class) as class,
        min(event_identifiers.strength) as strength,
        min(event_identifiers.occurred_at) as first_seen_at,
        max(event_identifiers.occurred_at) as last_seen_at,
        arg_min(event_identifiers.event_id, (
                event_identifiers.occurred_at,
                event_identifiers.sequence is null,
                event_identifiers.sequence,
                event_identifiers.event_id
            )) as first_event_id,
        count(distinct event_identifiers.event_id) as events,
        count(distinct row(strong.strong_namespace, strong.strong_identifier)) filter (
            where strong.strong_identifier is not null
        ) as strong_identifiers
    from event_identifiers
    left join strong on event_identifiers.event_id = strong.event_id
    group by event_identifiers.namespace, event_identifiers.identifier
),

judged as (
    select
        -- A dense number in a fixed order: narrow to join on, and the same whatever the order of arrival.
        row_number() over (order by seen.strength, seen.namespace, seen.identifier) as identifier_key,
        seen.*,
        case
            when seen.class = 'device' and seen.strong_identifiers >= 2 then 'shared_device'
            when seen.class <> 'strong' and seen.strong_identifiers > namespaces.max_strong_identifiers
                then 'limit_exceeded'
        end as refusal
    from seen
    left join namespaces on seen.namespace = namespaces.namespace
)

select * from judged
