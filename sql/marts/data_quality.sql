-- What events carry that cannot be used as sent: kept in the event, counted here, never silently 0.
-- Grain: (kind, channel).

with

events as (select * from staging.events),

currencies as (select * from taxonomy.currencies),

doubtful as (
    select 'unreadable_amount' as kind, 'properties.revenue' as field, channel, event_id
    from events
    where unreadable_revenue is not null

    union all

    select 'unknown_currency' as kind, 'properties.currency' as field, events.channel, events.event_id
    from events
    anti join currencies on events.currency = currencies.currency
    where events.currency is not null

    union all

    select 'shortened_properties' as kind, 'properties' as field, channel, event_id
    from events
    where is_properties_shortened

    union all

    select 'shortened_context' as kind, 'context' as field, channel, event_id
    from events
    where is_context_shortened
),

counted as (
    select
        kind,
        channel,
        field,
        count(*) as events,
        min(event_id) as example_event_id
    from doubtful
    group by kind, channel, field
)

select * from counted
