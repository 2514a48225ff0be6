-- What became of every landed record: nothing is lost, and each number says what it counts.
-- Grain: (channel, outcome, reason).

with

landed as (select * from staging.landed_records),

rejected as (select * from staging.rejected_events),

events as (select * from staging.events),

touchpoints as (select * from marts.touchpoints),

kept as (
    select
        coalesce(landed.channel, 'unknown') as channel,
        case
            when landed.outcome = 'duplicate' then 'duplicate'
            when events.event_id is null then 'after_as_of'
            else 'accepted'
        end as outcome,
        case
            when landed.outcome = 'duplicate' or events.event_id is null then 'none'
            when touchpoints.event_id is null then 'names_nobody'
            else 'names_a_customer'
        end as reason
    from landed
    left join events on landed.event_id = events.event_id
    left join touchpoints on landed.event_id = touchpoints.event_id
    where landed.outcome <> 'conflicting_duplicate'
),

all_records as (
    select channel, outcome, reason from kept
    union all
    select coalesce(channel, 'unknown') as channel, 'rejected' as outcome, reason from rejected
),

counted as (
    select channel, outcome, reason, count(*) as records
    from all_records
    group by channel, outcome, reason
)

select * from counted
