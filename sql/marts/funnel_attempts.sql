-- How far each customer came in each funnel: the best attempt, and how it ended.
-- Grain: (funnel, customer_id, attempt).

with

chains as (select * from intermediate.funnel_chains),

funnels as (select * from taxonomy.funnels),

funnel_steps as (select * from taxonomy.funnel_steps),

journey_events as (select * from intermediate.journey_events),

observation as (select * from staging.observation),

-- Per entry: the deepest chain, each of its steps as early as can be; and until when a later event could still convert.
entries as (
    select
        chains.funnel,
        chains.customer_id,
        chains.entry_event_id,
        chains.entered_at,
        max(chains.step_order) as furthest_step,
        arg_min(
            struct_pack(event_ids := chains.event_ids, step_times := chains.step_times),
            (-chains.step_order, chains.step_times, chains.event_ids)
        ) as best_chain,
        least(
            max(coalesce(chains.occurred_at + chains.next_within, 'infinity'::timestamptz)),
            coalesce(chains.entered_at + funnels.funnel_window, 'infinity'::timestamptz)
        ) as open_until
    from chains
    inner join funnels on chains.funnel = funnels.funnel
    group by chains.funnel, chains.customer_id, chains.entry_event_id, chains.entered_at, funnels.funnel_window
),

-- `best`: the deepest attempt, then the latest entry.
best as (
    select *
    from entries
    qualify
        row_number() over (
            partition by funnel, customer_id
            order by furthest_step desc, entered_at desc, entry_event_id
        ) = 1
),

step_counts as (
    select funnel, count(*) as steps
    from funnel_steps
    group by funnel
),

attempts as (
    select
        -- ids
        best.funnel,
        best.customer_id,
        1 as attempt,

        -- how it went
        best.entered_at,
        case
            when best.furthest_step = step_counts.steps then 'converted'
            when best.open_until >= observation.as_of then 'open'
            else 'dropped'
        end as status,
        best.furthest_step,
        list_resize(best.best_chain.step_times, step_counts.steps) as step_times,
        list_resize(best.best_chain.event_ids, step_counts.steps) as event_ids,

        -- where it stands
        best.best_chain.step_times[best.furthest_step] as last_step_at,
        best.best_chain.event_ids[best.furthest_step] as last_event_id,
        nullif(best.open_until, 'infinity'::timestamptz) as open_until,
        case
            when best.furthest_step = step_counts.steps
                then epoch(best.best_chain.step_times[best.furthest_step] - best.entered_at)
        end as seconds_to_convert,
        journey_events.journey_id
    from best
    inner join step_counts on best.funnel = step_counts.funnel
    inner join journey_events on best.entry_event_id = journey_events.event_id
    cross join observation
)

select * from attempts
