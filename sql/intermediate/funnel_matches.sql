-- The touchpoints that can take a step, and all that decides which chains they can make.
-- Grain: (funnel, event_id, step_order).

with

history as (select * from intermediate.touchpoint_history),

step_matches as (select * from taxonomy.step_matches),

funnels as (select * from taxonomy.funnels),

-- What breaks a strict chain: any other touchpoint of the customer's own, strictly between its first and last instants.
touches as (
    select
        event_id,
        sum((initiator = 'customer')::integer) over earlier as touches_before,
        sum((initiator = 'customer')::integer) over until_then as touches_until
    from history
    where (select bool_or(matching = 'strict') from funnels)
    window
        earlier as (
            partition by customer_id
            order by occurred_at
            range between unbounded preceding and interval 1 microsecond preceding
        ),
        until_then as (
            partition by customer_id
            order by occurred_at
            range between unbounded preceding and current row
        )
),

step_sets as (
    select event_id, funnel, list(step_order order by step_order) as step_set
    from step_matches
    group by event_id, funnel
),

-- Events of one instant that take the same steps are as good as each other, and no chain uses more of them than there
-- are steps: a log that knows days only would else be tried in all its permutations.
useful as (
    select
        step_matches.funnel,
        step_matches.event_id,
        step_matches.step_order,
        step_matches.held,
        len(step_sets.step_set) > 1 as is_versatile,
        history.customer_id,
        history.occurred_at,
        history.sequence,
        history.initiator = 'customer' as is_own
    from step_matches
    inner join step_sets
        on step_matches.funnel = step_sets.funnel
        and step_matches.event_id = step_sets.event_id
    inner join history on step_matches.event_id = history.event_id
    inner join funnels on step_matches.funnel = funnels.funnel
    qualify
        row_number() over (
            partition by
                step_matches.funnel, step_matches.step_order, history.customer_id, history.occurred_at,
                history.sequence, step_sets.step_set, step_matches.held, history.initiator
            order by history.event_id
        ) <= funnels.steps
),

matches as (
    select
        useful.*,
        -- The instant before this one at which the same step could be taken.
        max(useful.occurred_at) over (
            partition by useful.funnel, useful.customer_id, useful.step_order, useful.held
            order by useful.occurred_at
            range between unbounded preceding and interval 1 microsecond preceding
        ) as previous_at,
        bool_or(useful.is_versatile) over (partition by useful.funnel, useful.customer_id) as has_versatile,
        touches.touches_before,
        touches.touches_until
    from useful
    left join touches on useful.event_id = touches.event_id
)

select * from matches
