-- Each step that an attempt has taken: when, after which one, before which one, and in which visit.
-- Grain: (funnel, customer_id, attempt, step_order).

with

attempts as (select * from marts.funnel_attempts),

touchpoints as (select * from marts.touchpoints),

sessions as (select * from marts.sessions),

funnels as (select * from taxonomy.funnels),

places as (
    select
        attempts.funnel,
        attempts.customer_id,
        attempts.attempt,
        attempts.status,
        attempts.furthest_step,
        attempts.entered_at,
        funnels.matching = 'any' as is_in_any_order,
        places.step_order as declared_step,
        attempts.event_ids[places.step_order] as event_id,
        attempts.step_times[places.step_order] as taken_at
    from attempts
    inner join funnels on attempts.funnel = funnels.funnel
    cross join unnest(range(1, len(attempts.step_times) + 1)) as places (step_order)
    where attempts.step_times[places.step_order] is not null
),

-- In any order the first that was taken is step 1, whichever it is.
steps as (
    select
        * exclude (is_in_any_order),
        case when is_in_any_order then row_number() over in_turn else declared_step end as step_order,
        lag(taken_at) over in_turn as left_at,
        lag(event_id) over in_turn as left_event_id,
        lead(taken_at) over in_turn as next_taken_at
    from places
    window in_turn as (
        partition by funnel, customer_id, attempt
        order by case when is_in_any_order then taken_at end, declared_step
    )
),

visited as (
    select
        steps.*,
        sessions.started_at as visit_started_at
    from steps
    left join touchpoints on steps.event_id = touchpoints.event_id
    left join sessions on touchpoints.session_id = sessions.session_id
)

select * from visited
