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

strong_names as (
    select
        members.component_key,
        case
            when members.namespace = 'customer_id' and prefixes.prefix is null then members.identifier
            else members.namespace || ':' || members.identifier
        end as strong_identifier
    from members
    left join prefixes
        on split_part(members.identifier, ':', 1) = prefixes.prefix
        and contains(members.identifier, ':')
    where members.class = 'strong'
    qualify
        row_number() over (
            partition by members.component_key
            order by members.strength, members.first_seen_at, members.identifier, members.namespace
        ) = 1
),

anonymous_names as (
    select
        members.component_key,
        'anonymous:' || left(
            sha256(
                arg_min(
                    json_array(members.namespace, members.identifier)::varchar, (members.namespace, members.identifier)
                )
            ),
            16
        ) as anonymous_name
    from members
    left join strong_names on members.component_key = strong_names.component_key
    where strong_names.component_key is null
    group by members.component_key
),

named as (
    select
        members.*,
        coalesce(strong_names.strong_identifier, anonymous_names.anonymous_name) as customer_id,
        strong_names.strong_identifier is not null as is_known
    from members
    left join strong_names on members.component_key = strong_names.component_key
    left join anonymous_names on members.component_key = anonymous_names.component_key
)

select * from named
