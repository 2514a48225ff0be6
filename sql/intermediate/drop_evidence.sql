-- What a customer's own events say about why a dropped attempt was left; slowness is judged beside everybody's.
-- Grain: (funnel, customer_id, attempt, signal, detail).

with

exits as (select * from marts.funnel_exits),

attempts as (select * from marts.funnel_attempts),

step_matches as (select * from taxonomy.step_matches),

signal_events as (select * from intermediate.signal_events),

history as (select * from intermediate.touchpoint_history),

journey_events as (select * from intermediate.journey_events),

signals as (select * from taxonomy.signals),

funnels as (select * from taxonomy.funnels),

funnel_steps as (select * from taxonomy.funnel_steps),

competitors as (select * from taxonomy.funnel_competitors),

-- Failures, stated reasons and clicks of rage follow the last step; a pattern is one of the visit, and of that step; a
-- price is a reason where it was the last thing seen.
shown as (
    select
        exits.funnel,
        exits.customer_id,
        exits.attempt,
        signals.reason,
        signal_events.signal,
        signal_events.detail,
        list_sort(list_distinct(flatten(list(signal_events.event_ids)))) as event_ids
    from exits
    inner join signal_events
        on exits.customer_id = signal_events.customer_id
        and signal_events.occurred_at >= exits.visit_started_at
        and signal_events.occurred_at <= exits.exit_at
    inner join signals on signal_events.signal = signals.signal
    inner join history as last_touchpoint on exits.last_event_id = last_touchpoint.event_id
    left join funnel_steps
        on signal_events.funnel = funnel_steps.funnel
        and signal_events.step_order = funnel_steps.step_order
    left join step_matches
        on last_touchpoint.event_key = step_matches.event_key
        and funnel_steps.predicate = step_matches.predicate
    where
        case signals.evidence
            when 'pattern'
                then
                    signal_events.session_id = exits.session_id
                    and signal_events.funnel = exits.funnel
                    and step_matches.event_key is not null
            when 'last' then signal_events.event_id = exits.exit_event_id
            else signal_events.event_order > last_touchpoint.event_order
        end
    group by exits.funnel, exits.customer_id, exits.attempt, signals.reason, signal_events.signal, signal_events.detail
),

-- The customer is seen on another channel or device of the same journey, or has followed a link to one, and the way ends
-- there. Somebody whom we do not know is no evidence of that.
handed_off as (
    select
        exits.funnel,
        exits.customer_id,
        exits.attempt,
        'hand_off_lost' as reason,
        case
            when next_touchpoint.event_id is null then 'link_followed'
            when next_touchpoint.channel <> exits.exit_channel then 'channel_switch'
            else 'device_switch'
        end as signal,
        exits.exit_channel as detail,
        list_filter(
            [exits.exit_event_id, next_touchpoint.event_id], lambda event_id: event_id is not null
        ) as event_ids
    from exits
    inner join history as left_at on exits.exit_event_id = left_at.event_id
    inner join journey_events as left_in on left_at.event_key = left_in.event_key
    left join history as next_touchpoint on exits.next_event_ids[1] = next_touchpoint.event_id
    left join journey_events as next_in on next_touchpoint.event_key = next_in.event_key
    where
        exits.is_next_known
        and case len(exits.next_event_ids)
            when 0
                then left_at.event_type in (
                    'ad_clicked', 'email_link_clicked', 'link_clicked', 'push_opened', 'qr_code_scanned'
                )
            when 1
                -- Who reaches the goal there has lost nothing. An event without a device tells of no other one.
                then left_in.journey_key = next_in.journey_key
                and not next_touchpoint.is_goal
                and (
                    next_touchpoint.channel <> exits.exit_channel
                    or (
                        next_touchpoint.source_device <> left_at.source_device
                        and not starts_with(next_touchpoint.source_device, 'channel:')
                        and not starts_with(left_at.source_device, 'channel:')
                    )
                )
            else false
        end
),

-- What begins a funnel: its first step, or any where the order does not matter.
beginnings as (
    select
        step_matches.customer_id,
        step_matches.event_order,
        step_matches.occurred_at,
        funnels.funnel,
        funnels.entry
    from step_matches
    inner join funnel_steps on step_matches.predicate = funnel_steps.predicate
    inner join funnels on funnel_steps.funnel = funnels.funnel
    where
        (funnel_steps.step_order = 1 or funnels.matching = 'any')
        and (step_matches.occurred_at >= funnels.entered_from or funnels.entered_from is null)
        and (step_matches.occurred_at < funnels.entered_until or funnels.entered_until is null)
),

-- Who enters once enters no more.
first_beginnings as (
    select
        funnel,
        customer_id,
        min(occurred_at) as occurred_at
    from beginnings
    where entry = 'first'
    group by funnel, customer_id
),

entries as (
    select beginnings.*
    from beginnings
    left join first_beginnings
        on beginnings.funnel = first_beginnings.funnel
        and beginnings.customer_id = first_beginnings.customer_id
    where beginnings.occurred_at = coalesce(first_beginnings.occurred_at, beginnings.occurred_at)
),

entered as (
    select
        exits.funnel,
        exits.customer_id,
        exits.attempt,
        others.funnel as other_funnel,
        min(others.event_order) as entry_order
    from exits
    inner join attempts as own
        on exits.funnel = own.funnel
        and exits.customer_id = own.customer_id
        and exits.attempt = own.attempt
    -- Funnels overlap by nature. Only one that the taxonomy names competes.
    inner join competitors on exits.funnel = competitors.funnel
    inner join entries as others
        on exits.customer_id = others.customer_id
        and competitors.competes_with = others.funnel
        and exits.last_step_at < others.occurred_at
        and own.ended_at >= others.occurred_at
    group by exits.funnel, exits.customer_id, exits.attempt, others.funnel
),

competing as (
    select
        entered.funnel,
        entered.customer_id,
        entered.attempt,
        'competing_path' as reason,
        'other_funnel' as signal,
        entered.other_funnel as detail,
        [history.event_id] as event_ids
    from entered
    inner join history
        on entered.customer_id = history.customer_id
        and entered.entry_order = history.event_order
),

silent as (
    select
        funnel,
        customer_id,
        attempt,
        'silence' as reason,
        'no_touch_in_7_days' as signal,
        'none' as detail,
        [exit_event_id] as event_ids
    from exits
    where len(next_event_ids) = 0 and is_next_known
),

evidence as (
    select * from shown
    union all
    select * from handed_off
    union all
    select * from competing
    union all
    select * from silent
)

select * from evidence
