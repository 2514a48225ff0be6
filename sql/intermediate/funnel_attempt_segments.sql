-- Which segment of each split an attempt belongs to, by the attribution that the funnel names.
-- Grain: (funnel, customer_id, attempt, segment_by).

with

attempts as (select * from marts.funnel_attempts),

funnel_segments as (select * from taxonomy.funnel_segments),

funnel_steps as (select * from taxonomy.funnel_steps),

segment_values as (select * from taxonomy.segment_values),

matched as (
    select
        funnel,
        customer_id,
        attempt,
        entry_event_id,
        unnest(event_ids) as event_id,
        unnest(step_times) as taken_at,
        generate_subscripts(event_ids, 1) as step_order
    from attempts
),

named_steps as (
    select
        funnel_segments.funnel,
        funnel_segments.segment_by,
        funnel_segments.attribution,
        funnel_steps.step_order as named_step_order
    from funnel_segments
    left join funnel_steps
        on funnel_segments.funnel = funnel_steps.funnel
        and funnel_segments.attribution = funnel_steps.step
),

valued as (
    select
        matched.funnel,
        matched.customer_id,
        matched.attempt,
        matched.step_order,
        matched.taken_at,
        matched.event_id = matched.entry_event_id as is_entry,
        named_steps.segment_by,
        named_steps.attribution,
        named_steps.named_step_order,
        segment_values.segment
    from matched
    inner join named_steps on matched.funnel = named_steps.funnel
    left join segment_values
        on matched.event_id = segment_values.event_id
        and named_steps.segment_by = segment_values.segment_by
    where matched.event_id is not null
),

attributed as (
    select
        funnel,
        customer_id,
        attempt,
        segment_by,
        case
            when attribution = 'entry' then min(segment) filter (where is_entry)
            when attribution = 'first'
                then arg_min(segment, (taken_at, step_order)) filter (where segment is not null)
            when attribution = 'last'
                then arg_max(segment, (taken_at, step_order)) filter (where segment is not null)
            when count(*) filter (where step_order = named_step_order) = 0 then 'not_reached'
            else min(segment) filter (where step_order = named_step_order)
        end as segment
    from valued
    group by funnel, customer_id, attempt, segment_by, attribution, named_step_order
),

labelled as (
    select funnel, customer_id, attempt, segment_by, coalesce(segment, 'unknown') as segment
    from attributed
    union all
    select funnel, customer_id, attempt, 'all' as segment_by, 'all' as segment
    from attempts
)

select * from labelled
