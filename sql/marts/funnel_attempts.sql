-- How far each customer came in each funnel, attempt by attempt, and how each ended.
-- Grain: (funnel, customer_id, attempt).

with recursive

entries as (select * from intermediate.funnel_entries),

funnels as (select * from taxonomy.funnels),

journey_events as (select * from intermediate.journey_events),

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

-- `best`: a clean attempt before an excluded one, then the deepest, then the latest entry. Else the earliest entry; of
-- one instant the one that comes furthest.
ranked as (
    select
        ended.*,
        funnels.entry,
        row_number() over (
            partition by ended.funnel, ended.customer_id
            order by
                case when funnels.entry = 'best' then ended.status = 'excluded' end,
                case when funnels.entry = 'best' then -ended.required_steps_taken end,
                case when funnels.entry = 'best' then -epoch_us(ended.entered_at) else epoch_us(ended.entered_at) end,
                ended.status = 'excluded',
                -ended.required_steps_taken,
                ended.preference,
                ended.entry_event_id
        ) as entry_rank
    from ended
    inner join funnels on ended.funnel = funnels.funnel
),

-- `every`: the next entry is the first one strictly after the end of the attempt before it.
attempted as (
    select
        funnel,
        customer_id,
        entry_event_id,
        ended_at,
        1 as attempt
    from ranked
    where entry_rank = 1

    union all

    select
        funnel,
        customer_id,
        entry_event_id,
        ended_at,
        attempt
    from (
        select
            ranked.funnel,
            ranked.customer_id,
            ranked.entry_event_id,
            ranked.ended_at,
            attempted.attempt + 1 as attempt,
            row_number() over (
                partition by ranked.funnel, ranked.customer_id
                order by ranked.entry_rank
            ) as next_rank
        from attempted
        inner join ranked
            on attempted.funnel = ranked.funnel
            and attempted.customer_id = ranked.customer_id
            and attempted.ended_at < ranked.entered_at
        where ranked.entry = 'every'
    ) as following
    where next_rank = 1
),

attempts as (
    select
        -- ids
        ended.funnel,
        ended.customer_id,
        attempted.attempt,

        -- how it went
        ended.entered_at,
        ended.status,
        ended.furthest_step::integer as furthest_step,
        ended.step_times,
        ended.event_ids,

        -- where it stands
        ended.last_step_at,
        ended.last_event_id,
        case when ended.status <> 'converted' then nullif(ended.open_until, 'infinity'::timestamptz) end as open_until,
        nullif(ended.ended_at, 'infinity'::timestamptz) as ended_at,
        case when ended.status = 'converted' then epoch(ended.ended_at - ended.entered_at) end
            as seconds_to_convert,
        ended.entry_event_id,
        ended.excluded_by,
        journey_events.journey_id
    from attempted
    inner join ended
        on attempted.funnel = ended.funnel
        and attempted.customer_id = ended.customer_id
        and attempted.entry_event_id = ended.entry_event_id
    inner join journey_events on attempted.entry_event_id = journey_events.event_id
)

select * from attempts
