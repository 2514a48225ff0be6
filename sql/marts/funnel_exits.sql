-- Where each dropped attempt was left, and where its customer went next.
-- Grain: (funnel, customer_id, attempt).

with

attempts as (select * from marts.funnel_attempts),

funnel_steps as (select * from taxonomy.funnel_steps),

touchpoints as (select * from marts.touchpoints),

signal_matches as (select * from taxonomy.signal_matches),

signals as (select * from taxonomy.signals),

observation as (select * from staging.observation),

own_touchpoints as (
    select *
    from touchpoints
    where session_id is not null
),

dropped as (
    select
        attempts.*,
        last_touchpoint.session_id,
        last_touchpoint.event_order as last_event_order
    from attempts
    inner join touchpoints as last_touchpoint on attempts.last_event_id = last_touchpoint.event_id
    where attempts.status = 'dropped'
),

-- The visit in which the last step was taken, and the customer's last touch in it.
visits as (
    select
        dropped.funnel,
        dropped.customer_id,
        dropped.attempt,
        min(own_touchpoints.occurred_at) as visit_started_at,
        arg_max(own_touchpoints.event_id, own_touchpoints.event_order) filter (
            where own_touchpoints.event_order >= dropped.last_event_order
            and own_touchpoints.occurred_at <= dropped.ended_at
        ) as exit_event_id
    from dropped
    left join own_touchpoints
        on dropped.customer_id = own_touchpoints.customer_id
        and dropped.session_id = own_touchpoints.session_id
    group by dropped.funnel, dropped.customer_id, dropped.attempt
),

-- A failure of the company's own (a charge that bounced) that came upon them before they touched anything again.
failures as (
    select
        dropped.funnel,
        dropped.customer_id,
        dropped.attempt,
        arg_max(failed.event_id, failed.event_order) as event_id
    from dropped
    inner join visits
        on dropped.funnel = visits.funnel
        and dropped.customer_id = visits.customer_id
        and dropped.attempt = visits.attempt
    inner join touchpoints as left_at
        on coalesce(visits.exit_event_id, dropped.last_event_id) = left_at.event_id
    inner join touchpoints as failed
        on dropped.customer_id = failed.customer_id
        and left_at.event_order < failed.event_order
        and dropped.ended_at >= failed.occurred_at
        and failed.session_id is null
    inner join signal_matches on failed.event_id = signal_matches.event_id
    inner join signals on signal_matches.signal = signals.signal and signals.reason = 'failure'
    left join own_touchpoints as between_them
        on dropped.customer_id = between_them.customer_id
        and left_at.event_order < between_them.event_order
        and failed.event_order > between_them.event_order
    where between_them.event_id is null
    group by dropped.funnel, dropped.customer_id, dropped.attempt
),

exits as (
    select
        dropped.funnel,
        dropped.customer_id,
        dropped.attempt,
        dropped.furthest_step,
        dropped.last_step_at,
        dropped.last_event_id,
        dropped.session_id,
        coalesce(visits.visit_started_at, dropped.last_step_at) as visit_started_at,
        exit_touchpoint.event_id as exit_event_id,
        exit_touchpoint.occurred_at as exit_at,
        exit_touchpoint.channel as exit_channel,
        exit_touchpoint.event_order as exit_order
    from dropped
    inner join visits
        on dropped.funnel = visits.funnel
        and dropped.customer_id = visits.customer_id
        and dropped.attempt = visits.attempt
    left join failures
        on dropped.funnel = failures.funnel
        and dropped.customer_id = failures.customer_id
        and dropped.attempt = failures.attempt
    inner join touchpoints as exit_touchpoint
        on coalesce(failures.event_id, visits.exit_event_id, dropped.last_event_id) = exit_touchpoint.event_id
),

following as (
    select
        exits.funnel,
        exits.customer_id,
        exits.attempt,
        own_touchpoints.event_id,
        own_touchpoints.event_type,
        own_touchpoints.channel,
        own_touchpoints.stage,
        own_touchpoints.occurred_at,
        row_number() over (
            partition by exits.funnel, exits.customer_id, exits.attempt
            order by own_touchpoints.event_order
        ) as place
    from exits
    inner join own_touchpoints
        on exits.customer_id = own_touchpoints.customer_id
        and exits.exit_order < own_touchpoints.event_order
        and own_touchpoints.occurred_at <= exits.exit_at + interval 7 days
),

next_touchpoints as (
    select
        funnel,
        customer_id,
        attempt,
        list(event_id order by place) as next_event_ids,
        list(event_type order by place) as next_event_types,
        list(channel order by place) as next_channels,
        list(stage order by place) as next_stages,
        min(occurred_at) as next_at
    from following
    where place <= 3
    group by funnel, customer_id, attempt
),

placed as (
    select
        -- ids
        exits.funnel,
        exits.customer_id,
        exits.attempt,

        -- where it left
        exits.furthest_step as step_order,
        funnel_steps.label as step,
        exits.last_step_at,
        exits.last_event_id,
        exits.exit_at,
        exits.exit_event_id,
        exits.exit_channel,
        exits.visit_started_at,
        exits.session_id,

        -- where it went
        coalesce(next_touchpoints.next_event_ids, []) as next_event_ids,
        coalesce(next_touchpoints.next_event_types, []) as next_event_types,
        coalesce(next_touchpoints.next_channels, []) as next_channels,
        coalesce(next_touchpoints.next_stages, []) as next_stages,
        epoch(next_touchpoints.next_at - exits.exit_at) as seconds_to_next,
        exits.exit_at + interval 7 days as watched_until,
        exits.exit_at + interval 7 days < observation.as_of as is_next_known
    from exits
    cross join observation
    inner join funnel_steps
        on exits.funnel = funnel_steps.funnel
        and exits.furthest_step = funnel_steps.step_order
    left join next_touchpoints
        on exits.funnel = next_touchpoints.funnel
        and exits.customer_id = next_touchpoints.customer_id
        and exits.attempt = next_touchpoints.attempt
)

select * from placed
