-- Every way up a funnel that can matter: per entry and step, the touchpoints that some chain from that entry reaches.
-- Grain: (funnel, customer_id, entry_event_id, step_order, event_id, instant_event_ids).

with recursive

history as (select * from intermediate.touchpoint_history),

step_matches as (select * from taxonomy.step_matches),

funnels as (select * from taxonomy.funnels),

funnel_steps as (select * from taxonomy.funnel_steps),

-- `next_within` is how long the following step may take; null where it may take any time, or there is none.
steps as (
    select
        funnel_steps.funnel,
        funnel_steps.step_order,
        funnel_steps.within,
        lead(funnel_steps.within) over (
            partition by funnel_steps.funnel order by funnel_steps.step_order
        ) as next_within,
        funnels.funnel_window,
        funnels.entered_from,
        funnels.entered_until
    from funnel_steps
    inner join funnels on funnel_steps.funnel = funnels.funnel
),

-- Events of one customer, instant and sequence that take the same steps are as good as each other, and no chain uses more
-- of them than there are steps: a log that knows days only would else be tried in all its permutations.
step_sets as (
    select event_id, funnel, list(step_order order by step_order) as step_set
    from step_matches
    group by event_id, funnel
),

useful as (
    select step_sets.funnel, history.event_id
    from step_sets
    inner join history on step_sets.event_id = history.event_id
    inner join funnel_steps as lengths
        on step_sets.funnel = lengths.funnel
        and lengths.step_order = 1
    qualify
        row_number() over (
            partition by
                step_sets.funnel, history.customer_id, history.occurred_at, history.sequence, step_sets.step_set
            order by history.event_id
        ) <= lengths.steps
),

matches as (
    select
        step_matches.funnel,
        step_matches.step_order,
        history.customer_id,
        history.event_id,
        history.occurred_at,
        history.sequence,
        steps.within,
        steps.next_within,
        steps.funnel_window,
        steps.entered_from,
        steps.entered_until
    from step_matches
    inner join useful
        on step_matches.funnel = useful.funnel
        and step_matches.event_id = useful.event_id
    inner join history on step_matches.event_id = history.event_id
    inner join steps
        on step_matches.funnel = steps.funnel
        and step_matches.step_order = steps.step_order
),

-- One round per step. Events of one instant may count in any order, except that two that both carry `sequence` keep it:
-- so a chain remembers which events of its newest instant it has used, and the largest sequence among them.
chains as (
    select
        funnel,
        customer_id,
        event_id as entry_event_id,
        occurred_at as entered_at,
        step_order,
        event_id,
        occurred_at,
        next_within,
        [event_id] as instant_event_ids,
        sequence as instant_sequence,
        [event_id] as event_ids,
        [occurred_at] as step_times
    from matches
    where
        step_order = 1
        and (occurred_at >= entered_from or entered_from is null)
        and (occurred_at < entered_until or entered_until is null)

    union all

    select
        funnel,
        customer_id,
        entry_event_id,
        entered_at,
        step_order,
        event_id,
        occurred_at,
        next_within,
        instant_event_ids,
        instant_sequence,
        event_ids,
        step_times
    from (
        select
            *,
            row_number() over (
                partition by funnel, customer_id, entry_event_id, event_id, instant_event_ids, instant_sequence
                order by step_times, event_ids
            ) as path_rank,
            min(occurred_at) over (partition by funnel, customer_id, entry_event_id) as earliest_at
        from (
            select
                chains.funnel,
                chains.customer_id,
                chains.entry_event_id,
                chains.entered_at,
                matches.step_order,
                matches.event_id,
                matches.occurred_at,
                matches.next_within,
                case
                    when matches.occurred_at > chains.occurred_at then [matches.event_id]
                    else list_sort(list_append(chains.instant_event_ids, matches.event_id))
                end as instant_event_ids,
                case
                    when matches.occurred_at > chains.occurred_at then matches.sequence
                    else coalesce(matches.sequence, chains.instant_sequence)
                end as instant_sequence,
                list_append(chains.event_ids, matches.event_id) as event_ids,
                list_append(chains.step_times, matches.occurred_at) as step_times
            from chains
            inner join matches
                on chains.funnel = matches.funnel
                and chains.customer_id = matches.customer_id
                and chains.step_order + 1 = matches.step_order
                and chains.occurred_at <= matches.occurred_at
            where
                (
                    matches.occurred_at > chains.occurred_at
                    or (
                        not list_contains(chains.instant_event_ids, matches.event_id)
                        and coalesce(matches.sequence >= chains.instant_sequence, true)
                    )
                )
                and coalesce(matches.occurred_at <= chains.entered_at + matches.funnel_window, true)
                and coalesce(matches.occurred_at <= chains.occurred_at + matches.within, true)
        ) as extended
    ) as ranked
    -- Where the next step has no time limit of its own, the earliest match of this one serves as well as any later one.
    where path_rank = 1 and (next_within is not null or occurred_at = earliest_at)
)

select * from chains
