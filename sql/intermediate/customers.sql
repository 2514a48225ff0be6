-- The name of each component: its first strong identifier, or a hash where nobody has said who they are.
-- Grain: (identifier_key).

with

identifiers as (select * from intermediate.identifiers),

components as (select * from intermediate.identity_components),

members as (
    select components.component_key, identifiers.*
    from components
    inner join identifiers on components.identifier_key = identifiers.identifier_key
),

names as (
    select
        component_key,
        arg_min(identifier, (first_seen_at, identifier)) filter (where class = 'strong') as strong_identifier,
        'anonymous:' || left(sha256(arg_min(json_array(namespace, identifier)::varchar, (namespace, identifier))), 16) as anonymous_name
    from members
    group by component_key
),

named as (
    select
        members.identifier_key,
        members.namespace,
        members.identifier,
        members.class,
        members.refusal,
        members.first_seen_at,
        members.last_seen_at,
        members.first_event_id,
        members.events,
        coalesce(names.strong_identifier, names.anonymous_name) as customer_id,
        names.strong_identifier is not null as is_known
    from members
    inner join names on members.component_key = names.component_key
)

select * from named
