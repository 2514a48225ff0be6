-- Who an event names: its identifiers, normalised, without those that name nobody.
-- Grain: (event_id, namespace).

with

events as (select * from staging.events),

namespaces as (select * from taxonomy.namespaces),

named as (
    select event_id, occurred_at, sequence, unnest(map_entries(identifiers)) as entry
    from events
),

trimmed as (
    select
        event_id,
        occurred_at,
        sequence,
        entry.key as namespace,
        -- Whatever prints nothing: tabs, line ends, no-break and zero-width spaces.
        nfc_normalize(regexp_replace(entry.value, '^[\s\pZ\pC]+|[\s\pZ\pC]+$', '', 'g')) as identifier
    from named
),

normalised as (
    select
        event_id,
        occurred_at,
        sequence,
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
        normalised.* exclude (written),
        coalesce(namespaces.class, 'device') as class,
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
