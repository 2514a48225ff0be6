-- Who an event names, and as what: its identifiers, normalised, without those that name nobody.
-- Grain: (event_key, role, namespace).

with

events as (select * from staging.events),

namespaces as (select * from taxonomy.namespaces),

named as (
    select
        event_key,
        event_id,
        occurred_at,
        sequence,
        case when event_type = 'identity_removed' then 'removed' else 'named' end as role,
        unnest(map_entries(identifiers)) as entry
    from events
    union all
    -- Who says that two are one person names the other one here.
    select
        event_key,
        event_id,
        occurred_at,
        sequence,
        'merged_with' as role,
        unnest(map_entries(try_cast(json_extract(properties, '$.with') as map(varchar, varchar)))) as entry
    from events
    where event_type = 'identity_merged'
),

trimmed as (
    select
        event_key,
        event_id,
        occurred_at,
        sequence,
        role,
        entry.key as namespace,
        -- Whatever prints nothing: tabs, line ends, no-break and zero-width spaces.
        nfc_normalize(regexp_replace(entry.value, '^[\s\pZ\pC]+|[\s\pZ\pC]+$', '', 'g')) as identifier
    from named
),

normalised as (
    select
        event_key,
        event_id,
        occurred_at,
        sequence,
        role,
        namespace,
        identifier as written,
        case
            when namespace = 'email' then lower(identifier)
            -- E.164 as far as the number says its country; `00` is the international prefix that people type for `+`.
            when namespace = 'phone'
                then regexp_replace(regexp_replace(identifier, '[\s\pZ().\-/]', '', 'g'), '^00', '+')
            else identifier
        end as identifier
    from trimmed
),

naming as (
    select
        normalised.* exclude (event_id, occurred_at, sequence, written),
        -- 128 bits of its name: narrow to join on, and the same in every build. The length tells `b:c` of `a` from `c`
        -- of `a:b`.
        md5_number(length(normalised.namespace) || ':' || normalised.namespace || ':' || normalised.identifier)
            as identifier_key,
        coalesce(namespaces.class, 'device') as class,
        -- Its place in the one order of events (law L3).
        struct_pack(
            occurred_at := normalised.occurred_at,
            is_unnumbered := normalised.sequence is null,
            number := coalesce(normalised.sequence, 0),
            event_id := normalised.event_id
        ) as place,
        coalesce(namespaces.strength, 1000) as strength
    from normalised
    left join namespaces on normalised.namespace = namespaces.namespace
    -- Placeholders that a thousand people share: one of them would merge the thousand.
    where
        lower(normalised.written) not in (
            '', 'null', 'undefined', 'none', 'nan', 'anonymous', 'unknown', 'guest', 'true', 'false', '-1',
            'distinct_id', 'distinctid', '[object object]'
        )
        and not regexp_full_match(normalised.identifier, '[+0\-]*')
)

select * from naming
