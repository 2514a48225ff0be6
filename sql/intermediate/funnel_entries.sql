-- What becomes of each entry that may count: its best chain, what excluded it, and until when a later event could still convert it.
-- Grain: (funnel, customer_id, entry_order).

with

chains as (select * from intermediate.funnel_chains),

timed_entries as (select * from intermediate.funnel_timed_entries),

paths as (select * from intermediate.funnel_paths where step_times is not null),

step_matches as (select * from taxonomy.step_matches),

history as (select * from intermediate.touchpoint_history),

exclusion_matches as (select * from taxonomy.exclusion_matches),

funnels as (select * from taxonomy.funnels),

funnel_steps as (select * from taxonomy.funnel_steps),

funnel_successors as (select * from taxonomy.funnel_successors),

funnel_exclusions as (select * from taxonomy.funnel_exclusions),

slots as (
    select
        funnel,
        list(slot order by step_order) as slots,
        list(is_optional order by step_order) as are_optional
    from funnel_steps
    group by funnel
),

-- A strict chain ends where another of the customer's own touchpoints lies strictly after its first instant.
breaks as (
    select
        chains.funnel,
        chains.customer_id,
        chains.entry_order,
        chains.event_orders,
        min(history.occurred_at) as broken_at
    from chains
    inner join funnels on chains.funnel = funnels.funnel and funnels.matching = 'strict'
    inner join history
        on chains.customer_id = history.customer_id
        and chains.first_at < history.occurred_at
        and history.initiator = 'customer'
        and not history.is_repeated_order
        and not list_contains(chains.event_orders, history.event_order)
    group by chains.funnel, chains.customer_id, chains.entry_order, chains.event_orders
),

-- Until when each chain could take a next step: in time after the last one, and so that the rest fits into the window.
continuations as (
    select
        chains.funnel,
        chains.customer_id,
        chains.entry_order,
        least(
            coalesce(chains.last_at + funnel_successors.within, 'infinity'::timestamptz),
            coalesce(
                chains.entered_at + funnels.funnel_window - to_microseconds(list_sum(list_transform(
                    funnels.least_times,
                    lambda least_time, step: case
                        when step = funnel_successors.next_step_order or chains.taken & (1::hugeint << step) <> 0 then 0
                        else least_time
                    end
                ))::bigint),
                'infinity'::timestamptz
            )
        ) as open_until,
        chains.last_at + coalesce(funnel_successors.not_before, interval 0 second) as open_from,
        coalesce(breaks.broken_at, 'infinity'::timestamptz) as broken_at
    from chains
    inner join funnels on chains.funnel = funnels.funnel
    inner join funnel_successors
        on chains.funnel = funnel_successors.funnel
        and chains.last_step = funnel_successors.step_order
    left join breaks
        on chains.funnel = breaks.funnel
        and chains.customer_id = breaks.customer_id
        and chains.entry_order = breaks.entry_order
        and chains.event_orders = breaks.event_orders
    where
        chains.taken & (1::hugeint << funnel_successors.next_step_order) = 0
        and chains.held is not null
),

openings as (
    select
        funnel,
        customer_id,
        entry_order,
        max(least(open_until, broken_at)) as open_until
    from continuations
    where open_from <= open_until
    group by funnel, customer_id, entry_order

    union all

    select funnel, customer_id, entry_order, open_until
    from timed_entries
),

-- Per entry: the deepest chain, each of its required steps as early as can be, then the optional ones. (A window, not
-- `arg_min`, which takes four times as long over a key of lists.)
best_chains as (
    select
        chains.funnel,
        chains.customer_id,
        chains.entry_order,
        chains.entered_at,
        chains.held,
        chains.step_times,
        chains.event_orders,
        chains.newest_at
    from chains
    inner join funnels on chains.funnel = funnels.funnel
    qualify
        row_number() over (
            partition by chains.funnel, chains.customer_id, chains.entry_order
            order by struct_pack(
                missing := len(list_filter(
                    chains.step_times[:funnels.required_steps], lambda taken_at: taken_at = 'infinity'::timestamptz
                )),
                required := case
                    when funnels.matching = 'any' then list_sort(chains.step_times[:funnels.required_steps])
                    else chains.step_times[:funnels.required_steps]
                end,
                optional := case
                    when funnels.matching = 'any' then list_sort(chains.step_times[funnels.required_steps + 1:])
                    else chains.step_times[funnels.required_steps + 1:]
                end,
                event_orders := chains.event_orders
            )
        ) = 1

    union all

    select * exclude (open_until)
    from timed_entries
),

-- Back to the order in which the steps are declared.
declared as (
    select
        best_chains.funnel,
        best_chains.customer_id,
        best_chains.entry_order,
        best_chains.entered_at,
        best_chains.held,
        best_chains.newest_at,
        list_transform(
            slots.slots, lambda slot: nullif(best_chains.step_times[slot], 'infinity'::timestamptz)
        ) as step_times,
        list_transform(slots.slots, lambda slot: nullif(best_chains.event_orders[slot], 0)) as event_orders,
        slots.are_optional,
        funnels.matching,
        funnels.funnel_window,
        not list_contains(
            best_chains.step_times[:funnels.required_steps], 'infinity'::timestamptz
        ) as is_complete
    from best_chains
    inner join slots on best_chains.funnel = slots.funnel
    inner join funnels on best_chains.funnel = funnels.funnel
),

-- Between which instants an exclusion ends the attempt; both exclusive, the later one null where there is no step to
-- come before, and then the window's end is inclusive.
forbidden as (
    select
        declared.funnel,
        declared.customer_id,
        declared.entry_order,
        funnel_exclusions.exclusion_order,
        case
            when declared.matching = 'any' then declared.entered_at
            -- A tie that is tolerated may lie before the entry; nothing ends what has not begun.
            when declared.step_times[funnel_exclusions.after_step] is not null
                then greatest(declared.step_times[funnel_exclusions.after_step], declared.entered_at)
        end as excludes_after,
        coalesce(
            case
                when declared.matching <> 'any'
                    then list_filter(
                        declared.step_times[funnel_exclusions.before_step:], lambda taken_at: taken_at is not null
                    )[1]
            end,
            case when declared.is_complete then declared.newest_at end
        ) as excludes_before,
        -- Without a window, until nothing could convert it any more.
        coalesce(declared.entered_at + declared.funnel_window, openings.open_until, declared.newest_at)
            as excludes_until
    from declared
    inner join funnel_exclusions on declared.funnel = funnel_exclusions.funnel
    left join openings
        on declared.funnel = openings.funnel
        and declared.customer_id = openings.customer_id
        and declared.entry_order = openings.entry_order
),

exclusions as (
    select
        forbidden.funnel,
        forbidden.customer_id,
        forbidden.entry_order,
        min(exclusion_matches.occurred_at) as excluded_at,
        min(exclusion_matches.event_order) as excluded_by
    from forbidden
    inner join exclusion_matches
        on forbidden.funnel = exclusion_matches.funnel
        and forbidden.customer_id = exclusion_matches.customer_id
        and forbidden.exclusion_order = exclusion_matches.exclusion_order
    where
        exclusion_matches.occurred_at > forbidden.excludes_after
        and case
            when forbidden.excludes_before is null then exclusion_matches.occurred_at <= forbidden.excludes_until
            else exclusion_matches.occurred_at < forbidden.excludes_before
        end
    group by forbidden.funnel, forbidden.customer_id, forbidden.entry_order
),

-- An exclusion ends the attempt there: what came later is no part of it.
ended as (
    select
        declared.funnel,
        declared.customer_id,
        declared.entry_order,
        declared.entered_at,
        declared.held,
        declared.matching,
        declared.are_optional,
        declared.is_complete,
        list_transform(
            declared.step_times,
            lambda taken_at: case when taken_at <= coalesce(exclusions.excluded_at, taken_at) then taken_at end
        ) as step_times,
        list_transform(
            declared.event_orders,
            lambda event_order, step: case
                when declared.step_times[step] <= coalesce(exclusions.excluded_at, declared.step_times[step])
                    then event_order
            end
        ) as event_orders,
        exclusions.excluded_at,
        exclusions.excluded_by,
        openings.open_until
    from declared
    left join exclusions
        on declared.funnel = exclusions.funnel
        and declared.customer_id = exclusions.customer_id
        and declared.entry_order = exclusions.entry_order
    left join openings
        on declared.funnel = openings.funnel
        and declared.customer_id = openings.customer_id
        and declared.entry_order = openings.entry_order
),

-- The required steps as early as can be, then the optional ones; in any order it is no matter which took which event.
preferred as (
    select
        *,
        list_filter(
            list_transform(step_times, lambda taken_at: coalesce(taken_at, 'infinity'::timestamptz)),
            lambda taken_at, step: not are_optional[step]
        ) as required_times,
        list_filter(
            list_transform(step_times, lambda taken_at: coalesce(taken_at, 'infinity'::timestamptz)),
            lambda taken_at, step: are_optional[step]
        ) as optional_times
    from ended
),

measured as (
    select
        * exclude (required_times, optional_times),
        case
            when matching = 'any' then list_concat(list_sort(required_times), list_sort(optional_times))
            else list_concat(required_times, optional_times)
        end as preference,
        case
            when matching = 'any' then len(list_filter(step_times, lambda taken_at: taken_at is not null))
            else list_max(list_transform(step_times, lambda taken_at, step: case when taken_at is not null then step end))
        end as furthest_step,
        len(list_filter(
            step_times, lambda taken_at, step: taken_at is not null and not are_optional[step]
        )) as required_steps_taken
    from preferred
),

placed as (
    select
        *,
        case when matching = 'any' then list_max(step_times) else step_times[furthest_step] end as last_step_at,
        case
            when matching = 'any' then list_max(event_orders)
            else event_orders[furthest_step]
        end as last_order
    from measured
),

-- What one pass has found, event by event.
path_steps as (
    select
        funnel,
        customer_id,
        unnest(range(1, len(step_times) + 1)) as step_order,
        unnest(step_times) as taken_at
    from paths
),

path_events as (
    select
        path_steps.funnel,
        path_steps.customer_id,
        list(step_matches.event_order order by path_steps.step_order) as event_orders
    from path_steps
    inner join funnel_steps
        on path_steps.funnel = funnel_steps.funnel
        and path_steps.step_order = funnel_steps.step_order
    inner join step_matches
        on path_steps.customer_id = step_matches.customer_id
        and path_steps.taken_at = step_matches.occurred_at
        and funnel_steps.predicate = step_matches.predicate
    group by path_steps.funnel, path_steps.customer_id
),

-- Nothing is optional there, and nothing excluded.
plain as (
    select
        paths.funnel,
        paths.customer_id,
        path_events.event_orders[1] as entry_order,
        paths.entered_at,
        []::varchar[] as held,
        len(paths.step_times) = funnels.steps as is_complete,
        list_resize(paths.step_times, funnels.steps) as step_times,
        list_resize(path_events.event_orders, funnels.steps) as event_orders,
        null::timestamptz as excluded_at,
        null::bigint as excluded_by,
        case
            when funnels.steps > 1
                then coalesce(paths.entered_at + funnels.funnel_window, 'infinity'::timestamptz)
        end as open_until,
        list_resize(paths.step_times, funnels.steps, 'infinity'::timestamptz) as preference,
        len(paths.step_times) as furthest_step,
        len(paths.step_times) as required_steps_taken,
        paths.step_times[-1] as last_step_at,
        path_events.event_orders[-1] as last_order
    from paths
    inner join path_events on paths.funnel = path_events.funnel and paths.customer_id = path_events.customer_id
    inner join funnels on paths.funnel = funnels.funnel
),

entries as (
    select * exclude (matching, are_optional)
    from placed

    union all

    select * from plain
)

select * from entries
