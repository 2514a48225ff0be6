-- The name of each component: its first strong identifier, or a hash where nobody has said who they are.
-- Grain: (identifier_key).

with

identifiers as (select * from intermediate.identifiers),

components as (select * from intermediate.identity_components),

namespaces as (select * from taxonomy.namespaces),

members as (
    select components.component_key, components.candidate_key, identifiers.*
    from components
    inner join identifiers on components.identifier_key = identifiers.identifier_key
),

-- An id of another strong namespace says which: two shops' numbers may be equal. So does a customer_id that looks like
-- such a name: no two customers may bear one.
prefixes as (
    select 'anonymous' as prefix
    union all
    select namespace as prefix
    from namespaces
    where class = 'strong'
),

named_members as (
    select
        members.*,
        case
            when members.namespace = 'customer_id' and prefixes.prefix is null then members.identifier
            else members.namespace || ':' || members.identifier
        end as strong_name
    from members
    left join prefixes
        on split_part(members.identifier, ':', 1) = prefixes.prefix
        and contains(members.identifier, ':')
),

names as (
    select
        component_key,
        arg_min(strong_name, (strength, first_seen_at, identifier)) filter (where class = 'strong') as strong_identifier,
        'anonymous:' || left(sha256(arg_min(json_array(namespace, identifier)::varchar, (namespace, identifier))), 16) as anonymous_name
    from named_members
    group by component_key
),

named as (
    select
        members.*,
        coalesce(names.strong_identifier, names.anonymous_name) as customer_id,
        names.strong_identifier is not null as is_known
    from members
    inner join names on members.component_key = names.component_key
)

select * from named
