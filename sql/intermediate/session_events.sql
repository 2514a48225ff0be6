-- Which session each customer-initiated event belongs to, and why that session began.
-- Grain: (event_id).

with recursive

events as (select * from intermediate.identified_events),

timeouts as (select * from taxonomy.session_timeouts),

settings as (select * from taxonomy.sessions),

-- What the company does, nobody's session contains.
visits as (
    select
        events.customer_id,
        events.source_device,
        events.event_id,
        events.event_order,
        events.occurred_at,
        events.explicit_session_id,
        timeouts.timeout,
        case
            when settings.cut_at_campaign and coalesce(events.campaign_source, events.campaign_medium, events.campaign_name)
                is not null
                then json_array(events.campaign_source, events.campaign_medium, events.campaign_name)::varchar
        end as campaign,
        timezone(settings.midnight_of, events.occurred_at)::date as local_day
    from events
    inner join timeouts on events.channel = timeouts.channel
    cross join settings
    where events.initiator = 'customer'
),

-- 1. Silence longer than the timeout of the later event's channel.
gaps as (
    select
        *,
        coalesce(occurred_at - lag(occurred_at) over device_visits > timeout, false) as is_after_timeout
    from visits
    window device_visits as (partition by customer_id, source_device order by event_order)
),

stretches as (
    select
        *,
        count(*) filter (where is_after_timeout) over (
            partition by customer_id, source_device
            order by event_order
        ) as stretch
    from gaps
),

-- 2. The producer's own session id. An event without one belongs to the id before it, or to the first after it.
labelled as (
    select
        *,
        coalesce(
            explicit_session_id,
            last_value(explicit_session_id ignore nulls) over (
                stretch_visits rows between unbounded preceding and current row
            ),
            first_value(explicit_session_id ignore nulls) over (
                stretch_visits rows between current row and unbounded following
            ),
            ''
        ) as session_label
    from stretches
    window stretch_visits as (partition by customer_id, source_device, stretch order by event_order)
),

-- Two ids never share a session, even interleaved; one id is still split by the timeout, and where the taxonomy asks
-- for it by another campaign and by midnight.
neighbours as (
    select
        *,
        case
            when occurred_at - lag(occurred_at) over label_visits > timeout then 'timeout'
            when local_day <> lag(local_day) over label_visits then 'midnight'
        end as pause
    from labelled
    window label_visits as (partition by customer_id, source_device, session_label order by event_order)
),

blocks as (
    select
        *,
        count(*) filter (where pause is not null) over (
            partition by customer_id, source_device, session_label
            order by event_order
        ) as block
    from neighbours
),

campaigns as (
    select
        *,
        row_number() over block_visits as block_order,
        last_value(campaign ignore nulls) over (
            block_visits rows between unbounded preceding and 1 preceding
        ) as campaign_before
    from blocks
    window block_visits as (partition by customer_id, source_device, session_label, block order by event_order)
),

label_gaps as (
    select
        *,
        case
            when pause is not null then pause
            when block_order > 1 and campaign <> coalesce(campaign_before, '') then 'campaign'
        end as split_cause
    from campaigns
),

runs as (
    select
        *,
        count(*) filter (where split_cause is not null) over (
            partition by customer_id, source_device, session_label
            order by event_order
        ) as run
    from label_gaps
),

-- 3. The longest session: the first event strictly later than the start plus the limit starts the next one.
long_runs as (
    select runs.customer_id, runs.source_device, runs.session_label, runs.run, min(runs.occurred_at) as started_at
    from runs
    cross join settings
    group by runs.customer_id, runs.source_device, runs.session_label, runs.run, settings.session_max_length
    having max(runs.occurred_at) > min(runs.occurred_at) + settings.session_max_length
),

starts as (
    select customer_id, source_device, session_label, run, started_at
    from long_runs
    union all
    select starts.customer_id, starts.source_device, starts.session_label, starts.run, min(runs.occurred_at) as started_at
    from starts
    cross join settings
    inner join runs
        on starts.customer_id = runs.customer_id
        and starts.source_device = runs.source_device
        and starts.session_label = runs.session_label
        and starts.run = runs.run
        and runs.occurred_at > starts.started_at + settings.session_max_length
    group by starts.customer_id, starts.source_device, starts.session_label, starts.run, starts.started_at
),

pieces as (
    select
        runs.customer_id,
        runs.source_device,
        runs.session_label,
        runs.run,
        runs.event_id,
        runs.event_order,
        runs.occurred_at,
        case when runs.is_after_timeout then 'timeout' else runs.split_cause end as split_cause,
        max(starts.started_at) as piece
    from runs
    left join starts
        on runs.customer_id = starts.customer_id
        and runs.source_device = starts.source_device
        and runs.session_label = starts.session_label
        and runs.run = starts.run
        and runs.occurred_at >= starts.started_at
    group by all
),

placed as (
    select
        *,
        first_value(event_id) over session_visits as first_event_id,
        first_value(split_cause) over session_visits as began_by,
        coalesce(piece > min(piece) over run_visits, false) as began_at_limit,
        min(event_order) over device_visits as first_order
    from pieces
    window
        session_visits as (partition by customer_id, source_device, session_label, run, piece order by event_order),
        run_visits as (partition by customer_id, source_device, session_label, run),
        device_visits as (partition by customer_id, source_device)
),

caused as (
    select
        event_id,
        customer_id,
        source_device,
        'session:' || first_event_id as session_id,
        case
            when min(event_order) over session_visits = first_order then 'first'
            when began_at_limit then 'max_length'
            else coalesce(began_by, 'session_id')
        end as cut_cause
    from placed
    window session_visits as (partition by customer_id, source_device, session_label, run, piece)
)

select * from caused
