-- The distinct valid events, typed; the one copy that stays of each.
-- Grain: (event_id).

with

landed as (select * from lake.events),

records as (select * from staging.landed_records),

settings as (select * from taxonomy.request),

copies as (
    select event_id, count(*) filter (where outcome <> 'conflicting_duplicate') as copies
    from records
    group by event_id
),

kept as (
    select landed.*, copies.copies
    from landed
    inner join records
        on landed.topic = records.topic
        and landed.generation = records.generation
        and landed.partition = records.partition
        and landed."offset" = records."offset"
    inner join copies on landed.event_id = copies.event_id
    where records.outcome = 'accepted'
),

typed as (
    select
        -- ids
        kept.event_id,
        nullif(kept.context ->> '$.session_id', '') as explicit_session_id,
        kept.properties ->> '$.product_id' as product_id,
        kept.properties ->> '$.order_id' as order_id,

        -- times
        kept.occurred_at,
        kept.occurred_at_raw,
        kept.received_at,
        kept.sequence,

        -- what happened
        kept.event_type,
        kept.channel,
        kept.initiator,
        kept.identifiers,
        kept.copies,

        -- circumstances
        kept.context ->> '$.page.url' as page_url,
        kept.context ->> '$.page.path' as page_path,
        kept.context ->> '$.page.referrer' as page_referrer,
        kept.context ->> '$.screen' as screen,
        kept.context ->> '$.campaign.source' as campaign_source,
        kept.context ->> '$.campaign.medium' as campaign_medium,
        kept.context ->> '$.campaign.name' as campaign_name,
        kept.context ->> '$.device.type' as device,
        kept.context ->> '$.device.os' as device_os,
        kept.context ->> '$.geo.country' as country,
        kept.context ->> '$.geo.region' as region,
        kept.context ->> '$.geo.city' as city,
        kept.context ->> '$.locale' as locale,
        kept.context::json as context,

        -- numbers and words that the event carries
        try_cast(kept.properties ->> '$.revenue' as decimal(18, 4)) as revenue,
        kept.properties ->> '$.currency' as currency,
        case
            when isfinite(try_cast(kept.properties ->> '$.rating' as double))
                then try_cast(kept.properties ->> '$.rating' as double)
        end as rating,
        kept.properties ->> '$.error_code' as error_code,
        kept.properties ->> '$.support_topic' as support_topic,
        kept.properties ->> '$.survey.kind' as survey_kind,
        case
            when isfinite(try_cast(kept.properties ->> '$.survey.score' as double))
                then try_cast(kept.properties ->> '$.survey.score' as double)
        end as survey_score,
        kept.properties::json as properties
    from kept
),

-- A build as of an earlier instant knows nothing later.
known as (
    select typed.*
    from typed
    cross join settings
    where typed.occurred_at <= settings.requested_as_of or settings.requested_as_of is null
)

select * from known
