-- What became of every landed record: nothing is lost, and each number says what it counts.
-- Grain: (channel, outcome, reason).

with

landed as (select * from staging.landed_records),

rejected as (select * from staging.rejected_events),

events as (select * from staging.events),

touchpoints as (select * from marts.touchpoints),

-- Counts, no joins: each event of a later table has its one record in the table before it.
landed_outcomes as (
    select coalesce(channel, 'unknown') as channel, outcome, count(*) as records
    from landed
    where outcome <> 'conflicting_duplicate'
    group by all
),

known_channels as (
    select channel, count(*) as events
    from events
    group by channel
),

named_channels as (
    select channel, count(*) as touchpoints
    from touchpoints
    group by channel
),

counted as (
    select
        landed_outcomes.channel,
        landed_outcomes.outcome,
        landed_outcomes.records,
        coalesce(known_channels.events, 0) as events,
        coalesce(named_channels.touchpoints, 0) as touchpoints
    from landed_outcomes
    left join known_channels on landed_outcomes.channel = known_channels.channel
    left join named_channels on landed_outcomes.channel = named_channels.channel
),

outcomes as (
    select channel, 'duplicate' as outcome, 'none' as reason, records
    from counted
    where outcome = 'duplicate'
    union all
    select channel, 'after_as_of' as outcome, 'none' as reason, records - events as records
    from counted
    where outcome = 'accepted'
    union all
    select channel, 'accepted' as outcome, 'names_a_customer' as reason, touchpoints as records
    from counted
    where outcome = 'accepted'
    union all
    select channel, 'accepted' as outcome, 'names_nobody' as reason, events - touchpoints as records
    from counted
    where outcome = 'accepted'
    union all
    select coalesce(channel, 'unknown') as channel, 'rejected' as outcome, reason, count(*) as records
    from rejected
    group by all
),

nonempty as (
    select *
    from outcomes
    where records > 0
)

select * from nonempty
