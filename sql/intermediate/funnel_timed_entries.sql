-- Of ordered funnels whose steps are all required: each entry's best chain, and until when a later event could continue one.
-- Grain: (funnel, customer_id, entry_order).

with recursive

funnel_matches as (select * from intermediate.funnel_matches),

funnels as (select * from taxonomy.funnels),

funnel_successors as (select * from taxonomy.funnel_successors),

matches as (
    select *
    from funnel_matches
    where is_timed
),

-- Of the events of one instant that take a step, the first stands for all.
instants as (
    select
        funnel,
        customer_id,
        held,
        step_order,
        occurred_at,
        min(event_order) as event_order
    from matches
    group by funnel, customer_id, held, step_order, occurred_at
),

depths as (
    select distinct funnel, next_step_order
    from funnel_successors
),

-- Between which instants the next step has to be taken, once for each depth that a chain may reach.
paced as (
    select
        instants.*,
        later.next_step_order as depth,
        instants.occurred_at + coalesce(following.not_before, interval 0 second) as next_from,
        coalesce(instants.occurred_at + following.within, 'infinity'::timestamptz) as next_until
    from instants
    inner join funnel_successors as following
        on instants.funnel = following.funnel
        and instants.step_order = following.step_order
    inner join depths as later
        on instants.funnel = later.funnel
        and instants.step_order < later.next_step_order
    where instants.held is not null
),

-- From the end of each depth backward. Of all that can follow, the earliest that still reaches the depth gives the
-- earliest times of every later step, and the latest the latest: whoever starts later never gets there sooner. So two
-- looks at the next step are enough, however many events could take it (docs/decisions/0021).
ways as (
    select
        funnel,
        customer_id,
        held,
        step_order,
        occurred_at,
        step_order as depth,
        [occurred_at] as step_times,
        [event_order] as event_orders,
        occurred_at as latest_end
    from instants

    union all

    select
        looked_up.funnel,
        looked_up.customer_id,
        looked_up.held,
        looked_up.step_order,
        looked_up.occurred_at,
        looked_up.depth,
        list_prepend(looked_up.occurred_at, soonest.step_times) as step_times,
        list_prepend(looked_up.event_order, soonest.event_orders) as event_orders,
        latest.latest_end
    from (
        select
            *,
            min(way_at) over (
                partition by funnel, customer_id, held, depth, step_order
                order by next_from, way_at nulls first
                rows between current row and unbounded following
            ) as soonest_at,
            max(way_at) over (
                partition by funnel, customer_id, held, depth, step_order
                order by next_until, way_at nulls last
                rows between unbounded preceding and current row
            ) as latest_at
        from (
            select paced.*, null::timestamptz as way_at
            from paced
            semi join ways
                on paced.funnel = ways.funnel
                and paced.customer_id = ways.customer_id
                and paced.held = ways.held
                and paced.depth = ways.depth
                and paced.step_order + 1 = ways.step_order

            union all

            select
                funnel,
                customer_id,
                held,
                step_order - 1 as step_order,
                null::timestamptz as occurred_at,
                null::bigint as event_order,
                depth,
                occurred_at as next_from,
                occurred_at as next_until,
                occurred_at as way_at
            from ways
        ) as beside
    ) as looked_up
    inner join ways as soonest
        on looked_up.funnel = soonest.funnel
        and looked_up.customer_id = soonest.customer_id
        and looked_up.held = soonest.held
        and looked_up.depth = soonest.depth
        and looked_up.step_order + 1 = soonest.step_order
        and looked_up.soonest_at = soonest.occurred_at
    inner join ways as latest
        on looked_up.funnel = latest.funnel
        and looked_up.customer_id = latest.customer_id
        and looked_up.held = latest.held
        and looked_up.depth = latest.depth
        and looked_up.step_order + 1 = latest.step_order
        and looked_up.latest_at = latest.occurred_at
    where looked_up.way_at is null and looked_up.soonest_at <= looked_up.next_until
),

entries as (
    select
        matches.funnel,
        matches.customer_id,
        matches.event_order as entry_order,
        matches.occurred_at as entered_at,
        matches.held,
        ways.depth,
        ways.step_times,
        ways.event_orders,
        ways.latest_end,
        funnels.steps,
        funnels.funnel_window,
        funnels.least_times,
        coalesce(matches.occurred_at + funnels.funnel_window, 'infinity'::timestamptz) as window_end
    from matches
    inner join funnels on matches.funnel = funnels.funnel
    inner join ways
        on matches.funnel = ways.funnel
        and matches.customer_id = ways.customer_id
        and matches.held is not distinct from ways.held
        and matches.occurred_at = ways.occurred_at
        and ways.step_order = 1
    where matches.can_enter
),

reached as (
    select *
    from entries
    where step_times[-1] <= window_end
    qualify row_number() over (partition by funnel, customer_id, entry_order order by depth desc) = 1
),

-- Which events some entry can come to, step by step.
visited as (
    select funnel, customer_id, held, step_order, occurred_at
    from matches
    where can_enter

    union

    select funnel, customer_id, held, step_order, occurred_at
    from (
        select
            *,
            max(visited_at) over (
                partition by funnel, customer_id, held, step_order
                order by last_until, visited_at nulls last
                rows between unbounded preceding and current row
            ) as came_from
        from (
            select
                instants.funnel,
                instants.customer_id,
                instants.held,
                instants.step_order,
                instants.occurred_at,
                instants.occurred_at - coalesce(preceding.not_before, interval 0 second) as last_until,
                coalesce(instants.occurred_at - preceding.within, '-infinity'::timestamptz) as last_from,
                null::timestamptz as visited_at
            from instants
            inner join funnel_successors as preceding
                on instants.funnel = preceding.funnel
                and instants.step_order = preceding.next_step_order
            semi join visited
                on instants.funnel = visited.funnel
                and instants.customer_id = visited.customer_id
                and instants.held = visited.held
                and instants.step_order = visited.step_order + 1

            union all

            select
                funnel,
                customer_id,
                held,
                step_order + 1 as step_order,
                null::timestamptz as occurred_at,
                occurred_at as last_until,
                null::timestamptz as last_from,
                occurred_at as visited_at
            from visited
        ) as beside
    ) as looked_up
    where visited_at is null and came_from >= last_from
),

-- An entry can come to all of these from the earliest to the latest that it can come to: ways that cross can be changed.
-- The latest of them after which the rest fits into the window may still be continued.
waiting as (
    select
        entries.*,
        funnel_successors.within,
        coalesce(
            entries.entered_at + entries.funnel_window
            - to_microseconds(coalesce(list_sum(entries.least_times[entries.depth + 2:]), 0)::bigint),
            'infinity'::timestamptz
        ) as next_until,
        least(
            entries.latest_end, next_until - coalesce(funnel_successors.not_before, interval 0 second)
        ) as last_until
    from entries
    inner join funnel_successors
        on entries.funnel = funnel_successors.funnel
        and entries.depth = funnel_successors.step_order
    where entries.held is not null
),

latest_visited as (
    select
        * exclude (visited_at),
        max(visited_at) over (
            partition by funnel, customer_id, held, depth
            order by last_until, visited_at nulls last
            rows between unbounded preceding and current row
        ) as waits_at
    from (
        select
            funnel,
            customer_id,
            held,
            depth,
            entry_order,
            last_until,
            next_until,
            within,
            step_times[-1] as earliest_at,
            null::timestamptz as visited_at
        from waiting

        union all

        select
            funnel,
            customer_id,
            held,
            step_order as depth,
            null::bigint as entry_order,
            occurred_at as last_until,
            null::timestamptz as next_until,
            null::interval as within,
            null::timestamptz as earliest_at,
            occurred_at as visited_at
        from visited
    ) as beside
    qualify entry_order is not null
),

openings as (
    select
        funnel,
        customer_id,
        entry_order,
        max(least(coalesce(waits_at + within, 'infinity'::timestamptz), next_until)) as open_until
    from latest_visited
    where waits_at >= earliest_at
    group by funnel, customer_id, entry_order
),

timed as (
    select
        reached.funnel,
        reached.customer_id,
        reached.entry_order,
        reached.entered_at,
        reached.held,
        list_resize(reached.step_times, reached.steps, 'infinity'::timestamptz) as step_times,
        -- Several events of one instant may enter.
        list_resize(list_prepend(reached.entry_order, reached.event_orders[2:]), reached.steps, 0) as event_orders,
        reached.step_times[-1] as newest_at,
        openings.open_until
    from reached
    left join openings
        on reached.funnel = openings.funnel
        and reached.customer_id = openings.customer_id
        and reached.entry_order = openings.entry_order
)

select * from timed
