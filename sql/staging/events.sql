-- The distinct valid events, typed; the one copy that stays of each.
-- Grain: (event_id).

with

landed as (select * from lake.events),

records as (select * from staging.landed_records),

settings as (select * from taxonomy.request),

-- Nearly every record is the only one of its event: what is rare is looked for, and the rest passes by.
refused as (
    select event_key
    from records
    where outcome <> 'accepted'
),

repeated as (
    select *
    from records
    where event_key in (select event_key from refused)
),

copies as (
    select event_key, count(*) filter (where outcome <> 'conflicting_duplicate') as copies
    from repeated
    group by event_key
),

keyed as (
    select *, md5_number(event_id) as event_key
    from landed
),

kept as (
    select keyed.*, coalesce(copies.copies, 1) as copies
    from keyed
    left join copies on keyed.event_key = copies.event_key
    left join repeated
        on repeated.outcome = 'accepted'
        and keyed.topic = repeated.topic
        and keyed.generation = repeated.generation
        and keyed.partition = repeated.partition
        and keyed."offset" = repeated."offset"
    where copies.event_key is null or repeated.event_key is not null
),

-- One look at each text, however many fields are taken out of it.
opened as (
    select
        *,
        json_transform(context, '{
            "session_id": "VARCHAR",
            "page": {"url": "VARCHAR", "path": "VARCHAR", "referrer": "VARCHAR"},
            "screen": "VARCHAR",
            "campaign": {"source": "VARCHAR", "medium": "VARCHAR", "name": "VARCHAR"},
            "device": {"type": "VARCHAR", "os": "VARCHAR"},
            "geo": {"country": "VARCHAR", "region": "VARCHAR", "city": "VARCHAR"},
            "locale": "VARCHAR"
        }') as circumstances,
        json_transform(properties, '{
            "product_id": "VARCHAR",
            "order_id": "VARCHAR",
            "revenue": "VARCHAR",
            "currency": "VARCHAR",
            "rating": "VARCHAR",
            "error_code": "VARCHAR",
            "support_topic": "VARCHAR",
            "survey": {"kind": "VARCHAR", "score": "VARCHAR"}
        }') as facts
    from kept
),

typed as (
    select
        -- ids
        event_id,
        event_key,
        nullif(circumstances.session_id, '') as explicit_session_id,
        facts.product_id,
        facts.order_id,

        -- times
        occurred_at,
        occurred_at_raw,
        received_at,
        sequence,

        -- what happened
        event_type,
        channel,
        initiator,
        identifiers,
        copies,

        -- circumstances
        circumstances.page.url as page_url,
        circumstances.page.path as page_path,
        circumstances.page.referrer as page_referrer,
        circumstances.screen,
        circumstances.campaign.source as campaign_source,
        circumstances.campaign.medium as campaign_medium,
        circumstances.campaign.name as campaign_name,
        circumstances.device.type as device,
        circumstances.device.os as device_os,
        circumstances.geo.country,
        circumstances.geo.region,
        circumstances.geo.city,
        circumstances.locale,
        context::json as context,

        -- numbers and words that the event carries
        try_cast(facts.revenue as decimal(18, 4)) as revenue,
        facts.currency,
        case when isfinite(try_cast(facts.rating as double)) then try_cast(facts.rating as double) end as rating,
        facts.error_code,
        facts.support_topic,
        facts.survey.kind as survey_kind,
        case
            when isfinite(try_cast(facts.survey.score as double)) then try_cast(facts.survey.score as double)
        end as survey_score,
        properties::json as properties
    from opened
),

-- A build as of an earlier instant knows nothing later.
known as (
    select typed.*
    from typed
    cross join settings
    where typed.occurred_at <= settings.requested_as_of or settings.requested_as_of is null
)

select * from known
