-- Where more than times decides, every way up a funnel that can matter: from each entry, the chains that some longer or better chain may need.
-- Grain: (funnel, customer_id, entry_order, event_orders).

with recursive

matches as (select * from intermediate.funnel_matches where not is_timed),

funnels as (select * from taxonomy.funnels),

funnel_steps as (select * from taxonomy.funnel_steps),

funnel_successors as (select * from taxonomy.funnel_successors),

-- `patient`: nothing limits how soon the next step must follow, so the earliest match serves as well as any later one.
patience as (
    select
        funnels.funnel,
        funnel_steps.step_order,
        funnels.matching = 'ordered'
        and funnels.tie_tolerance = interval 0 second
        and coalesce(bool_and(funnel_successors.within is null), true) as is_patient
    from funnels
    inner join funnel_steps on funnels.funnel = funnel_steps.funnel
    left join funnel_successors
        on funnel_steps.funnel = funnel_successors.funnel
        and funnel_steps.step_order = funnel_successors.step_order
    group by funnels.funnel, funnel_steps.step_order, funnels.matching, funnels.tie_tolerance
),

-- `free`: in any order and without times between steps, only which steps are taken matters; and where no event could
-- take two of them, not even that: the next one is taken whenever it comes.
successors as (
    select
        funnel_successors.*,
        funnel_steps.slot,
        patience.is_patient,
        funnels.matching,
        funnels.funnel_window,
        funnels.tie_tolerance,
        funnels.required_steps,
        funnels.steps,
        funnels.matching = 'any'
        and bool_and(funnel_successors.within is null and funnel_successors.not_before is null) over (
            partition by funnel_successors.funnel
        ) as is_free
    from funnel_successors
    inner join funnels on funnel_successors.funnel = funnels.funnel
    inner join funnel_steps
        on funnel_successors.funnel = funnel_steps.funnel
        and funnel_successors.next_step_order = funnel_steps.step_order
    inner join patience
        on funnel_successors.funnel = patience.funnel
        and funnel_successors.next_step_order = patience.step_order
),

entries as (
    select
        matches.*,
        funnels.steps,
        funnel_steps.slot
    from matches
    inner join funnels on matches.funnel = funnels.funnel
    inner join funnel_steps
        on matches.funnel = funnel_steps.funnel
        and matches.step_order = funnel_steps.step_order
    where matches.can_enter
),

-- One round per step. An event is told by its place in its customer's order. `step_times` and `event_orders` stand in
-- the order of preference: the required steps first, then the optional ones; a step that is not taken has `infinity`
-- and 0. `recent` are the events that a later one could meet at one instant, where it matters: because they could take
-- another step too, or say their place by `sequence`. Of these only the kind matters, and where nothing runs backward
-- (`is_exact`) the largest sequence (`top`): the chain with the smallest one leaves all the others' events to come.
chains as (
    select
        funnel,
        customer_id,
        event_order as entry_order,
        occurred_at as entered_at,
        held,
        step_order as last_step,
        occurred_at as last_at,
        occurred_at as newest_at,
        1::hugeint << step_order as taken,
        list_transform(
            range(1, steps + 1), lambda place: case when place = slot then occurred_at else 'infinity'::timestamptz end
        ) as step_times,
        list_transform(range(1, steps + 1), lambda place: case when place = slot then event_order else 0 end)
            as event_orders,
        case
            when is_versatile or sequence is not null
                then [struct_pack(
                    occurred_at := occurred_at,
                    sequence := sequence,
                    kind := case when is_versatile then kind end
                )]
            else []
        end as recent,
        case when is_own then [occurred_at] else [] end as own_times,
        occurred_at as first_at,
        touches_until as touches_until_first,
        touches_before as touches_before_newest
    from entries

    union all

    select
        * exclude (chain_rank, earliest_at, least_top, is_patient, is_exact, is_greedy, top, known, unnumbered, state, preference)
    from (
        select
            *,
            row_number() over (
                partition by funnel, customer_id, entry_order, case when not is_greedy then taken end, known, state
                order by case when is_greedy then last_at end, preference, event_orders, last_at, last_step
            ) as chain_rank,
            min(top) over (
                partition by funnel, customer_id, entry_order, taken, unnumbered, state, preference
            ) as least_top,
            min(last_at) over (
                partition by funnel, customer_id, entry_order, taken
            ) as earliest_at
        from (
            select
                extended.* exclude (is_free, matching, required_steps, last_order),
                list_max(list_transform(extended.recent, lambda used: used.sequence)) as top,
                list_filter(
                    extended.recent,
                    lambda used: not extended.is_exact or used.sequence is null or used.sequence = top
                ) as known,
                list_filter(extended.recent, lambda used: used.sequence is null) as unnumbered,
                case
                    when extended.is_free then null
                    else struct_pack(
                        last := case
                            when extended.is_exact then epoch_us(extended.last_at) else extended.last_order
                        end,
                        newest_at := extended.newest_at,
                        own_times := case when extended.matching = 'strict' then extended.own_times end
                    )
                end as state,
                case
                    when extended.matching = 'any'
                        then list_concat(
                            list_sort(extended.step_times[:extended.required_steps]),
                            list_sort(extended.step_times[extended.required_steps + 1:])
                        )
                    else extended.step_times
                end as preference
            from (
                select
                    chains.funnel,
                    chains.customer_id,
                    chains.entry_order,
                    chains.entered_at,
                    chains.held,
                    matches.step_order as last_step,
                    matches.occurred_at as last_at,
                    greatest(chains.newest_at, matches.occurred_at) as newest_at,
                    chains.taken | (1::hugeint << matches.step_order) as taken,
                    list_transform(
                        chains.step_times,
                        lambda taken_at, place: case when place = successors.slot then matches.occurred_at else taken_at end
                    ) as step_times,
                    list_transform(
                        chains.event_orders,
                        lambda event_order, place: case when place = successors.slot then matches.event_order else event_order end
                    ) as event_orders,
                    list_sort(list_filter(
                        case
                            when matches.is_versatile or (matches.sequence is not null and not successors.is_free)
                                then list_append(
                                    chains.recent,
                                    struct_pack(
                                        occurred_at := matches.occurred_at,
                                        sequence := case when not successors.is_free then matches.sequence end,
                                        kind := case when matches.is_versatile then matches.kind end
                                    )
                                )
                            else chains.recent
                        end,
                        lambda used: successors.is_free
                        or used.occurred_at
                        >= greatest(chains.newest_at, matches.occurred_at) - successors.tie_tolerance
                    )) as recent,
                    case
                        when matches.is_own then list_sort(list_append(chains.own_times, matches.occurred_at))
                        else chains.own_times
                    end as own_times,
                    least(chains.first_at, matches.occurred_at) as first_at,
                    case
                        when matches.occurred_at < chains.first_at then matches.touches_until
                        else chains.touches_until_first
                    end as touches_until_first,
                    case
                        when matches.occurred_at > chains.newest_at then matches.touches_before
                        else chains.touches_before_newest
                    end as touches_before_newest,
                    successors.matching,
                    successors.required_steps,
                    successors.is_free,
                    successors.is_free and not matches.has_versatile as is_greedy,
                    successors.is_patient,
                    not successors.is_free and successors.tie_tolerance = interval 0 second as is_exact,
                    matches.event_order as last_order
                from chains
                inner join successors
                    on chains.funnel = successors.funnel
                    and chains.last_step = successors.step_order
                inner join matches
                    on chains.funnel = matches.funnel
                    and chains.customer_id = matches.customer_id
                    and successors.next_step_order = matches.step_order
                    and chains.held = matches.held
                where
                    chains.taken & (1::hugeint << matches.step_order) = 0
                    and matches.occurred_at
                    >= case when successors.is_free then chains.entered_at else chains.newest_at end
                    - successors.tie_tolerance
                    and coalesce(matches.occurred_at <= chains.entered_at + successors.funnel_window, true)
                    and coalesce(matches.occurred_at <= chains.last_at + successors.within, true)
                    and coalesce(
                        matches.occurred_at >= chains.last_at + nullif(successors.not_before, interval 0 second), true
                    )
                    and (
                        not successors.is_patient
                        or len(chains.recent) > 0
                        or matches.previous_at is null
                        or matches.previous_at
                        < greatest(chains.newest_at, chains.last_at + coalesce(successors.not_before, interval 0 second))
                    )
                    and not list_contains(chains.event_orders, matches.event_order)
                    -- Time that does not tell the order leaves it to `sequence`, where both have one.
                    and len(list_filter(
                        chains.recent,
                        lambda used: used.occurred_at >= matches.occurred_at and used.sequence > matches.sequence
                    )) = 0
            ) as extended
            where
                extended.matching <> 'strict'
                or greatest(extended.touches_before_newest - extended.touches_until_first, 0)
                = len(list_filter(
                    extended.own_times,
                    lambda own_at: own_at > extended.first_at and own_at < extended.newest_at
                ))
        ) as reachable
    ) as ranked
    where
        chain_rank = 1
        and (not is_patient or last_at = earliest_at)
        and (not is_exact or coalesce(top = least_top, true))
)

select * from chains
