-- The touchpoints that can take a step, and all that decides which chains they can make.
-- Grain: (funnel, customer_id, event_order, step_order).

with recursive

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
crowded_steps as (
    select step_matches.funnel, step_matches.step_order, step_matches.customer_id, step_matches.occurred_at
    from step_matches
    inner join funnels on step_matches.funnel = funnels.funnel
    group by
        step_matches.funnel, step_matches.step_order, step_matches.customer_id, step_matches.occurred_at,
        funnels.steps
    having count(*) > funnels.steps
),

crowds as (
    select distinct funnel, customer_id, occurred_at
    from crowded_steps
),

crowded_customers as (
    select distinct funnel, customer_id
    from crowds
),

-- The customers that have such instants, with what can meet: instants no further apart than `tie_tolerance`.
crowded as (
    select
        step_matches.funnel,
        step_matches.customer_id,
        step_matches.event_key,
        step_matches.step_order,
        step_matches.occurred_at,
        step_matches.sequence,
        step_matches.held,
        step_matches.initiator,
        step_matches.event_order,
        funnels.steps,
        funnels.tie_tolerance,
        coalesce(step_sets.step_set, [step_matches.step_order]) as step_set,
        crowds.funnel is not null as is_crowded,
        step_matches.occurred_at - lag(step_matches.occurred_at) over (
            partition by step_matches.funnel, step_matches.customer_id
            order by step_matches.occurred_at
        ) > funnels.tie_tolerance as is_apart
    from step_matches
    inner join funnels on step_matches.funnel = funnels.funnel
    left join step_sets
        on step_matches.event_key = step_sets.event_key
        and step_matches.funnel = step_sets.funnel
    left join crowds
        on step_matches.funnel = crowds.funnel
        and step_matches.customer_id = crowds.customer_id
        and step_matches.occurred_at = crowds.occurred_at
    semi join crowded_customers
        on step_matches.funnel = crowded_customers.funnel
        and step_matches.customer_id = crowded_customers.customer_id
),

clustered as (
    select
        *,
        count(*) filter (where is_apart) over (partition by funnel, customer_id order by occurred_at) as cluster
    from crowded
),

-- Events that only their `sequence` tells apart are of one kind; kinds that can be of one chain make a pool.
pooled as (
    select
        *,
        dense_rank() over (order by funnel, customer_id, cluster, held) as pool,
        dense_rank() over (
            order by funnel, customer_id, cluster, held, occurred_at, step_set, initiator
        ) as kind,
        row_number() over (
            partition by funnel, step_order, customer_id, occurred_at, sequence, step_set, held, initiator
            order by event_order
        ) as place
    from clustered
),

kinds as (
    select distinct pool, kind, steps
    from pooled
    where is_crowded and sequence is not null
),

numbers as (
    select distinct kind, sequence::hugeint as number
    from pooled
    where is_crowded and sequence is not null
),

-- Where `sequence` says the order, of each kind the next number serves as well as any later one. So a chain needs no more
-- than what is found by going from number to next number, once for each step: from the end, which tells until where an
-- entry can still be followed, and from the beginning and these, which finds the first entry after each.
outer_numbers as (
    select pool, sequence::hugeint as number
    from pooled
    where not is_crowded and sequence is not null and pool in (select pool from kinds)

    union

    select pool, unnest([-9223372036854775809::hugeint, 9223372036854775808::hugeint]) as number
    from kinds
),

known_numbers as (
    select pool, number
    from outer_numbers

    union

    select kinds.pool, numbers.number
    from numbers
    inner join kinds on numbers.kind = kinds.kind
),

places as (
    select
        kinds.pool,
        kinds.kind,
        kinds.steps,
        known_numbers.number,
        -- Null where the number is another kind's.
        numbers.number as own_number
    from known_numbers
    inner join kinds on known_numbers.pool = kinds.pool
    left join numbers on kinds.kind = numbers.kind and known_numbers.number = numbers.number
),

-- From each number to those of each kind that are next to it, in both directions; and to an equal one.
paces as (
    select
        pool,
        number,
        steps,
        unnest([own_number, max(own_number) over smaller]) as back,
        unnest([own_number, min(own_number) over larger]) as forth
    from places
    window
        smaller as (
            partition by kind
            order by number
            rows between unbounded preceding and 1 preceding
        ),
        larger as (
            partition by kind
            order by number
            rows between 1 following and unbounded following
        )
),

last_numbers as (
    select pool, number, 0 as depth
    from outer_numbers

    union

    select paces.pool, paces.back as number, last_numbers.depth + 1 as depth
    from last_numbers
    inner join paces
        on last_numbers.pool = paces.pool
        and last_numbers.number = paces.number
        and last_numbers.depth < paces.steps
    where paces.back is not null
),

first_numbers as (
    select distinct pool, number, 0 as depth
    from last_numbers

    union

    select paces.pool, paces.forth as number, first_numbers.depth + 1 as depth
    from first_numbers
    inner join paces
        on first_numbers.pool = paces.pool
        and first_numbers.number = paces.number
        and first_numbers.depth < paces.steps
    where paces.forth is not null
),

needed as (
    select distinct pool, number
    from first_numbers
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
        step_matches.initiator = 'customer' as is_own,
        -- What is not crowded is of a kind of its own.
        case when pooled.is_crowded then pooled.kind else -step_matches.event_order end as kind
    from step_matches
    left join pooled
        on step_matches.event_key = pooled.event_key
        and step_matches.funnel = pooled.funnel
        and step_matches.step_order = pooled.step_order
    left join needed
        on pooled.pool = needed.pool
        and pooled.sequence = needed.number
    where
        coalesce(not pooled.is_crowded, true)
        or (pooled.place <= pooled.steps and (pooled.sequence is null or needed.pool is not null))
),

-- Where an event could take two steps, or its number decides between steps of one instant, chains depend on more than
-- on times.
tangled_customers as (
    select funnel, customer_id
    from versatile_customers

    union

    select funnel, customer_id
    from useful
    group by funnel, customer_id, occurred_at
    having count(distinct step_order) > 1 and max(sequence) is not null
),

entering as (
    select
        useful.*,
        (useful.step_order = 1 or funnels.matching = 'any')
        and coalesce(useful.occurred_at >= funnels.entered_from, true)
        and coalesce(useful.occurred_at < funnels.entered_until, true) as is_entry,
        funnels.entry,
        funnels.matching = 'ordered'
        and funnels.tie_tolerance = interval 0 second
        and funnels.required_steps = funnels.steps as is_timed
    from useful
    inner join funnels on useful.funnel = funnels.funnel
),

matches as (
    select
        entering.* exclude (event_key, is_entry, entry, is_timed),
        -- `first`: the entries of the first instant, and no other one.
        entering.is_entry
        and (
            entering.entry <> 'first'
            or entering.occurred_at = min(entering.occurred_at) filter (where entering.is_entry) over (
                partition by entering.funnel, entering.customer_id
            )
        ) as can_enter,
        entering.is_timed and tangled_customers.customer_id is null as is_timed,
        -- The instant before this one at which the same step could be taken.
        max(entering.occurred_at) over (
            partition by entering.funnel, entering.customer_id, entering.step_order, entering.held
            order by entering.occurred_at
            groups between unbounded preceding and 1 preceding
        ) as previous_at,
        step_sets.event_key is not null as is_versatile,
        versatile_customers.customer_id is not null as has_versatile,
        touches.touches_before,
        touches.touches_until
    from entering
    left join step_sets
        on entering.event_key = step_sets.event_key
        and entering.funnel = step_sets.funnel
    left join versatile_customers
        on entering.funnel = versatile_customers.funnel
        and entering.customer_id = versatile_customers.customer_id
    left join tangled_customers
        on entering.funnel = tangled_customers.funnel
        and entering.customer_id = tangled_customers.customer_id
    left join touches on entering.event_key = touches.event_key
)

select * from matches
