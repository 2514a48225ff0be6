-- The distinct valid events, typed; the one copy that stays of each.
-- Grain: (event_id).

with

landed as (select * from lake.events),

records as (select * from staging.landed_records),

settings as (select * from taxonomy.request),

money as (select * from taxonomy.money),

currencies as (select * from taxonomy.currencies),

placeholders as (select * from taxonomy.placeholders),

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

-- The first thing that happens to a text: what is too long for a table is carried no further.
keyed as (
    select
        * replace (
            case
                when is_long(properties) then shortened(
                    properties,
                    'product_id order_id revenue amount currency rating error_code support_topic survey text reason',
                    -- Who is one person does not depend on how much is said.
                    case when event_type = 'identity_merged' then 'with' else '' end
                )
                else properties
            end as properties,
            case
                when is_long(context)
                    then shortened(context, 'session_id page screen campaign device geo locale', '')
                else context
            end as context
        ),
        is_long(properties) as is_properties_shortened,
        is_long(context) as is_context_shortened,
        md5_number(event_id) as event_key
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
            "revenue": "JSON",
            "amount": "JSON",
            "currency": "VARCHAR",
            "rating": "VARCHAR",
            "error_code": "VARCHAR",
            "support_topic": "VARCHAR",
            "survey": {"kind": "VARCHAR", "score": "VARCHAR"}
        }') as facts
    from kept
),

-- A refund may call its money `amount`, beside a revenue of nothing or 0. What is blank says nothing.
told as (
    select
        *,
        case
            when
                event_type in ('order_refunded', 'order_cancelled')
                and trim(facts.amount ->> '$') <> ''
                and coalesce(regexp_full_match(trim(facts.revenue ->> '$'), '[-+]?[0.,]*'), true)
                then facts.amount
            else facts.revenue
        end as told_amount,
        nullif(trim(told_amount ->> '$'), '') as amount_text
    from opened
),

-- An amount as digits with a decimal point; null where that would be a guess. Two marks tell which one is the decimal
-- one, and so does a mark that stands twice; else `money: {decimal: ...}` of the taxonomy has to.
written as (
    select
        told.*,
        case
            when not starts_with(told.told_amount, '"')
                then case
                    -- A double keeps 15 digits: of a longer number the text has the rest.
                    when abs(try_cast(told.amount_text as double)) >= 1e11
                        then coalesce(
                            list_filter(
                                regexp_extract_all(told.properties, '"(?:revenue|amount)"\s*:\s*(-?[0-9]+\.[0-9]+)', 1),
                                lambda digits: try_cast(digits as double) = try_cast(told.amount_text as double)
                            )[1],
                            told.amount_text
                        )
                    when json_type(told.told_amount) <> 'BOOLEAN' then told.amount_text
                end
            when
                regexp_full_match(told.amount_text, '[+-]?\d{1,3}((,\d{3})+\.\d+|(,\d{3}){2,})')
                or (money.decimal_mark = '.' and regexp_full_match(told.amount_text, '[+-]?\d{1,3}(,\d{3})+'))
                then replace(told.amount_text, ',', '')
            when
                regexp_full_match(told.amount_text, '[+-]?\d{1,3}((\.\d{3})+,\d+|(\.\d{3}){2,})')
                or (
                    money.decimal_mark = ','
                    and regexp_full_match(told.amount_text, '[+-]?(\d{1,3}(\.\d{3})+|\d+,\d+)')
                )
                then replace(replace(told.amount_text, '.', ''), ',', '.')
            when money.decimal_mark = ',' and contains(told.amount_text, '.') then null
            when regexp_full_match(told.amount_text, '[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?') then told.amount_text
        end as amount_digits
    from told
    cross join money
),

-- What stands where the name of an order should names none: two such orders would be one.
order_ids as (
    select distinct facts.order_id
    from opened
    where facts.order_id is not null
),

nameless as (
    select order_id
    from order_ids
    where
        folded_name(trim(order_id)) in (select placeholder from placeholders)
        or bare_name(folded_name(trim(order_id))) in (select placeholder from placeholders)
        or joined_name(folded_name(trim(order_id))) in (select placeholder from placeholders)
        or is_unfilled(folded_name(trim(order_id)))
),

typed as (
    select
        -- ids
        event_id,
        event_key,
        nullif(circumstances.session_id, '') as explicit_session_id,
        facts.product_id,
        case when nameless.order_id is null then trim(facts.order_id) end as order_id,

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
        try_cast(amount_digits as decimal(18, 4)) as revenue,
        case when try_cast(amount_digits as decimal(18, 4)) is null then amount_text end as unreadable_revenue,
        coalesce(currencies.currency, nullif(trim(facts.currency), '')) as currency,
        case when isfinite(try_cast(facts.rating as double)) then try_cast(facts.rating as double) end as rating,
        facts.error_code,
        facts.support_topic,
        facts.survey.kind as survey_kind,
        case
            when isfinite(try_cast(facts.survey.score as double)) then try_cast(facts.survey.score as double)
        end as survey_score,
        properties::json as properties,
        is_properties_shortened,
        is_context_shortened
    from written
    left join nameless on written.facts.order_id = nameless.order_id
    left join currencies on upper(trim(written.facts.currency)) = currencies.currency
),

-- A build as of an earlier instant knows nothing later.
known as (
    select typed.*
    from typed
    cross join settings
    where typed.occurred_at <= settings.requested_as_of or settings.requested_as_of is null
)

select * from known
