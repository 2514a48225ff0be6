-- Who an event names, and as what: its identifiers, normalised, without those that name nobody.
-- Grain: (event_key, role, namespace).

with

events as not materialized (select * from staging.events),

namespaces as (select * from taxonomy.namespaces),

placeholders as (select * from taxonomy.placeholders),

settings as (select * from taxonomy.identity),

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

-- Each spelling once, however many events bear it: what knows the world's numbering plans is no SQL.
spellings as (
    select identifiers['phone'] as written
    from events
    union
    select try_cast(json_extract(properties, '$.with') as map(varchar, varchar))['phone'] as written
    from events
    where event_type = 'identity_merged'
),

phones as (
    select spellings.written, phone_number(spellings.written, settings.default_region) as number
    from spellings
    cross join settings
    where spellings.written is not null
),

trimmed as (
    select
        event_key,
        event_id,
        occurred_at,
        sequence,
        role,
        entry.key as namespace,
        case when entry.key = 'phone' then entry.value end as phone,
        -- Whatever prints nothing: tabs, line ends, no-break and zero-width spaces.
        nfc_normalize(regexp_replace(entry.value, '^[\s\pZ\pC]+|[\s\pZ\pC]+$', '', 'g')) as identifier
    from named
),

folded as (
    select
        *,
        folded_name(identifier) as folded
    from trimmed
),

normalised as (
    select
        folded.event_key,
        folded.event_id,
        folded.occurred_at,
        folded.sequence,
        folded.role,
        folded.namespace,
        folded.folded,
        case
            when folded.namespace = 'email' then lower(folded.identifier)
            else coalesce(phones.number, folded.identifier)
        end as identifier
    from folded
    left join phones on folded.phone = phones.written
),

naming as (
    select
        normalised.* exclude (event_id, occurred_at, sequence, folded),
        -- 128 bits of its name: narrow to join on, and the same in every build. The length tells `b:c` of `a` from `c`
        -- of `a:b`.
        md5_number(length(normalised.namespace) || ':' || normalised.namespace || ':' || normalised.identifier)
            as identifier_key,
        namespaces.class,
        -- Its place in the one order of events (law L3).
        struct_pack(
            occurred_at := normalised.occurred_at,
            is_unnumbered := normalised.sequence is null,
            number := coalesce(normalised.sequence, 0),
            event_id := normalised.event_id
        ) as place,
        namespaces.strength
    from normalised
    -- What nobody has declared has no class: nobody knows whether one person bears it or a thousand.
    inner join namespaces on normalised.namespace = namespaces.namespace
    -- Placeholders that a thousand people share: one of them would merge the thousand.
    where
        normalised.folded not in (select placeholder from placeholders)
        and bare_name(normalised.folded) not in (select placeholder from placeholders)
        and coalesce(joined_name(normalised.folded) not in (select placeholder from placeholders), true)
        and not is_unfilled(normalised.folded)
)

select * from naming
