-- The touchpoints that can take a step, and all that decides which chains they can make.
-- Grain: (funnel, customer_id, event_order, step_order).

with

history as (select * from intermediate.touchpoint_history),

predicate_matches as (select * from taxonomy.step_matches),

held_values as (select * from taxonomy.held_values),

funnels as (select * from taxonomy.funnels),

funnel_steps as (select * from taxonomy.funnel_steps),

paths as (select * from intermediate.funnel_paths),

-- Where one pass has found the entry that counts, what can follow it; where it has found the steps too, nothing.
wanted as (
    select
        predicate_matches.* exclude (predicate),
        funnel_steps.funnel,
        funnel_steps.step_order
    from predicate_matches
    inner join funnel_steps on predicate_matches.predicate = funnel_steps.predicate
    inner join funnels on funnel_steps.funnel = funnels.funnel
    where not funnels.is_one_pass

    union all

    select
        predicate_matches.* exclude (predicate),
        funnel_steps.funnel,
        funnel_steps.step_order
    from paths
    inner join funnels on paths.funnel = funnels.funnel
    inner join funnel_steps on paths.funnel = funnel_steps.funnel
    inner join predicate_matches
        on paths.customer_id = predicate_matches.customer_id
        and funnel_steps.predicate = predicate_matches.predicate
    where
        paths.step_times is null
        and (
            paths.is_tied
            or (
                predicate_matches.occurred_at >= paths.entered_at
                and coalesce(predicate_matches.occurred_at <= paths.entered_at + funnels.funnel_window, true)
                and (funnel_steps.step_order > 1 or predicate_matches.occurred_at = paths.entered_at)
            )
        )
),

step_matches as (
    select
        wanted.*,
        case when funnels.is_constant then held_values.held else [] end as held
    from wanted
    inner join funnels on wanted.funnel = funnels.funnel
    left join held_values
        on wanted.event_key = held_values.event_key
        and wanted.funnel = held_values.funnel
),

-- What breaks a strict chain: any other touchpoint of the customer's own, strictly between its first and last instants.
touches as (
    select
        event_key,
        sum((initiator = 'customer' and not is_repeated_order)::integer) over earlier as touches_before,
        sum((initiator = 'customer' and not is_repeated_order)::integer) over until_then as touches_until
    from history
    where (select bool_or(matching = 'strict') from funnels)
    window
        earlier as (
            partition by customer_key
            order by occurred_at
            groups between unbounded preceding and 1 preceding
        ),
        until_then as (
            partition by customer_key
            order by occurred_at
            range between unbounded preceding and current row
        )
),

-- Which steps each touchpoint can take; versatile where there are several.
step_sets as (
    select
        event_key,
        funnel,
        any_value(customer_id) as customer_id,
        list(step_order order by step_order) as step_set
    from step_matches
    group by event_key, funnel
    having count(*) > 1
),

versatile_customers as (
    select distinct funnel, customer_id
    from step_sets
),

-- Events of one instant that take the same steps are as good as each other, and no chain uses more of them than there
-- are steps: a log that knows days only would else be tried in all its permutations.
crowds as (
    select step_matches.funnel, step_matches.step_order, step_matches.customer_id, step_matches.occurred_at
    from step_matches
    inner join funnels on step_matches.funnel = funnels.funnel
    group by
        step_matches.funnel, step_matches.step_order, step_matches.customer_id, step_matches.occurred_at,
        funnels.steps
    having count(*) > funnels.steps
),

crowded as (
    select
        step_matches.event_key,
        step_matches.funnel,
        step_matches.step_order,
        row_number() over (
            partition by
                step_matches.funnel, step_matches.step_order, step_matches.customer_id, step_matches.occurred_at,
                step_matches.sequence, step_sets.step_set, step_matches.held, step_matches.initiator
            order by step_matches.event_order
        ) as place
    from step_matches
    inner join crowds
        on step_matches.funnel = crowds.funnel
        and step_matches.step_order = crowds.step_order
        and step_matches.customer_id = crowds.customer_id
        and step_matches.occurred_at = crowds.occurred_at
    left join step_sets
        on step_matches.event_key = step_sets.event_key
        and step_matches.funnel = step_sets.funnel
),

useful as (
    select
        step_matches.funnel,
        step_matches.customer_id,
        step_matches.event_key,
        step_matches.event_order,
        step_matches.step_order,
        step_matches.held,
        step_matches.occurred_at,
        step_matches.sequence,
        step_matches.initiator = 'customer' as is_own
    from step_matches
    inner join funnels on step_matches.funnel = funnels.funnel
    left join crowded
        on step_matches.event_key = crowded.event_key
        and step_matches.funnel = crowded.funnel
        and step_matches.step_order = crowded.step_order
    where coalesce(crowded.place, 1) <= funnels.steps
),

matches as (
    select
        useful.* exclude (event_key),
        -- The instant before this one at which the same step could be taken.
        max(useful.occurred_at) over (
            partition by useful.funnel, useful.customer_id, useful.step_order, useful.held
            order by useful.occurred_at
            groups between unbounded preceding and 1 preceding
        ) as previous_at,
        step_sets.event_key is not null as is_versatile,
        versatile_customers.customer_id is not null as has_versatile,
        touches.touches_before,
        touches.touches_until
    from useful
    left join step_sets
        on useful.event_key = step_sets.event_key
        and useful.funnel = step_sets.funnel
    left join versatile_customers
        on useful.funnel = versatile_customers.funnel
        and useful.customer_id = versatile_customers.customer_id
    left join touches on useful.event_key = touches.event_key
)

select * from matches
