-- How far each customer came in each funnel, attempt by attempt, and how each ended.
-- Grain: (funnel, customer_id, attempt).

with recursive

entries as (select * from intermediate.funnel_entries),

funnels as (select * from taxonomy.funnels),

journey_events as (select * from intermediate.journey_events),

history as (select * from intermediate.touchpoint_history),

observation as (select * from staging.observation),

judged as (
    select
        entries.*,
        case
            when entries.excluded_at is not null then 'excluded'
            when entries.is_complete then 'converted'
            when entries.open_until >= observation.as_of then 'open'
            else 'dropped'
        end as status
    from entries
    cross join observation
),

-- What is open runs on; what dropped ran until its time was over, or until it could not go on at all.
ended as (
    select
        *,
        case status
            when 'excluded' then excluded_at
            when 'converted' then list_max(step_times)
            when 'open' then 'infinity'::timestamptz
            else coalesce(open_until, last_step_at)
        end as ended_at
    from judged
),

-- `every`: attempts run beside each other per value that they hold constant. Who has none runs one after the other.
laned as (
    select
        ended.*,
        funnels.entry,
        case when funnels.entry = 'every' then ended.held end as lane
    from ended
    inner join funnels on ended.funnel = funnels.funnel
),

-- `best`: a clean attempt before an excluded one, then the deepest, then the latest entry. Else the earliest entry; of
-- one instant the one that comes furthest.
ranked as (
    select
        *,
        row_number() over (
            partition by funnel, customer_id, lane
            order by
                case when entry = 'best' then status = 'excluded' end,
                case when entry = 'best' then -required_steps_taken end,
                case when entry = 'best' then -epoch_us(entered_at) else epoch_us(entered_at) end,
                status = 'excluded',
                -required_steps_taken,
                preference,
                entry_order
        ) as entry_rank
    from laned
),

-- `every`: the next entry is the first one strictly after the end of the attempt before it.
attempted as (
    select
        funnel,
        customer_id,
        lane,
        entry_order,
        entered_at,
        ended_at
    from ranked
    where entry_rank = 1

    union all

    select
        funnel,
        customer_id,
        lane,
        entry_order,
        entered_at,
        ended_at
    from (
        select
            ranked.funnel,
            ranked.customer_id,
            ranked.lane,
            ranked.entry_order,
            ranked.entered_at,
            ranked.ended_at,
            row_number() over (
                partition by ranked.funnel, ranked.customer_id, ranked.lane
                order by ranked.entry_rank
            ) as next_rank
        from attempted
        inner join ranked
            on attempted.funnel = ranked.funnel
            and attempted.customer_id = ranked.customer_id
            and attempted.lane is not distinct from ranked.lane
            and attempted.ended_at < ranked.entered_at
        where ranked.entry = 'every'
    ) as following
    where next_rank = 1
),

numbered as (
    select
        funnel,
        customer_id,
        entry_order,
        row_number() over (partition by funnel, customer_id order by entered_at, entry_order)::integer as attempt
    from attempted
),

counted as (
    select ended.*, numbered.attempt
    from numbered
    inner join ended
        on numbered.funnel = ended.funnel
        and numbered.customer_id = ended.customer_id
        and numbered.entry_order = ended.entry_order
),

-- From places in the customer's order to the events' own ids.
places as (
    select
        funnel,
        customer_id,
        attempt,
        unnest(list_concat(event_orders, [entry_order, last_order, excluded_by])) as event_order,
        unnest(range(1, len(event_orders) + 4)) as place,
        entry_order
    from counted
),

names as (
    select
        places.funnel,
        places.customer_id,
        places.attempt,
        list(history.event_id order by places.place) as event_ids,
        any_value(history.event_key) filter (where places.event_order = places.entry_order) as entry_key
    from places
    left join history
        on places.customer_id = history.customer_id
        and places.event_order = history.event_order
    group by places.funnel, places.customer_id, places.attempt
),

attempts as (
    select
        -- ids
        counted.funnel,
        counted.customer_id,
        counted.attempt,

        -- how it went
        counted.entered_at,
        counted.status,
        counted.furthest_step::integer as furthest_step,
        counted.step_times,
        names.event_ids[:-4] as event_ids,

        -- where it stands
        counted.last_step_at,
        names.event_ids[-2] as last_event_id,
        case when counted.status <> 'converted' then nullif(counted.open_until, 'infinity'::timestamptz) end
            as open_until,
        nullif(counted.ended_at, 'infinity'::timestamptz) as ended_at,
        case when counted.status = 'converted' then epoch(counted.ended_at - counted.entered_at) end
            as seconds_to_convert,
        names.event_ids[-3] as entry_event_id,
        names.event_ids[-1] as excluded_by,
        'journey:' || openings.event_id as journey_id,
        nullif(counted.held, []) as held
    from counted
    inner join names
        on counted.funnel = names.funnel
        and counted.customer_id = names.customer_id
        and counted.attempt = names.attempt
    inner join journey_events on names.entry_key = journey_events.event_key
    inner join history as openings on journey_events.journey_key = openings.event_key
)

select * from attempts
