-- Namespaces that events name and nobody has declared: they link nothing, and are counted.
-- Grain: (event_key, field).

with

events as (select * from staging.events),

namespaces as (select * from taxonomy.namespaces),

named as (
    select event_key, 'identifiers.' as place, unnest(map_keys(identifiers)) as namespace
    from events
    union all
    select
        event_key,
        'properties.with.' as place,
        unnest(map_keys(try_cast(json_extract(properties, '$.with') as map(varchar, varchar)))) as namespace
    from events
    where event_type = 'identity_merged'
),

undeclared as (
    select named.event_key, named.place || named.namespace as field, named.namespace
    from named
    left join namespaces on named.namespace = namespaces.namespace
    where namespaces.namespace is null
)

select * from undeclared
