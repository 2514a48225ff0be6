-- Which session each customer-initiated event belongs to, and why that session began.
-- Grain: (event_key).

with recursive

history as (select * from intermediate.touchpoint_history),

events as (select * from staging.events),

timeouts as (select * from taxonomy.session_timeouts),

settings as (select *, epoch_us(session_max_length) as max_length from taxonomy.sessions),

campaigns as (
    select
        event_key,
        json_array(campaign_source, campaign_medium, campaign_name)::varchar as campaign
    from events
    where
        (select cut_at_campaign from settings)
        and coalesce(campaign_source, campaign_medium, campaign_name) is not null
),

-- What the company does, nobody's session contains. Instants and lengths in microseconds: exact, and quick to compare.
visits as (
    select
        history.customer_key,
        history.source_device,
        history.event_key,
        history.event_order,
        epoch_us(history.occurred_at) as instant,
        history.explicit_session_id,
        epoch_us(timeouts.timeout) as timeout,
        campaigns.campaign,
        timezone(settings.midnight_of, history.occurred_at)::date as local_day
    from history
    inner join timeouts on history.channel = timeouts.channel
    left join campaigns on history.event_key = campaigns.event_key
    cross join settings
    where history.initiator = 'customer'
),

-- 1. Silence longer than the timeout of the later event's channel. From here on a device bears its first visit's name.
gaps as (
    select
        * exclude (customer_key, source_device),
        first_value(event_key) over device_visits as device_key,
        coalesce(instant - lag(instant) over device_visits > timeout, false) as is_after_timeout,
        count(coalesce(explicit_session_id, campaign, local_day::varchar)) over (
            device_visits rows between unbounded preceding and unbounded following
        ) = 0 as is_plain
    from visits
    window device_visits as (partition by customer_key, source_device order by event_order)
),

-- Where nothing but silence can cut, it has.
plain as (
    select
        device_key,
        event_key,
        event_order,
        instant,
        '' as session_label,
        is_after_timeout or event_key = device_key as is_start,
        'timeout' as cause
    from gaps
    where is_plain
),

-- 2. The producer's own session id. An event without one belongs to the id before it, or to the first after it; neither
-- reaches over such a silence: '' stands for it.
neighbours as (
    select
        *,
        last_value(coalesce(explicit_session_id, case when is_after_timeout then '' end) ignore nulls)
            over (device_visits rows between unbounded preceding and current row) as label_before,
        first_value(case when is_after_timeout then '' else explicit_session_id end ignore nulls)
            over (device_visits rows between 1 following and unbounded following) as label_after
    from gaps
    where not is_plain
    window device_visits as (partition by device_key order by event_order)
),

labelled as (
    select
        * exclude (explicit_session_id, label_before, label_after),
        coalesce(nullif(label_before, ''), label_after, '') as session_label
    from neighbours
),

-- Two ids never share a session, even interleaved; one id is still split by the timeout, and where the taxonomy asks
-- for it by another campaign and by midnight.
paused as (
    select
        * exclude (timeout, local_day),
        case
            when instant - lag(instant) over label_visits > timeout then 'timeout'
            when local_day <> lag(local_day) over label_visits then 'midnight'
        end as pause,
        row_number() over label_visits = 1 as is_first_of_label
    from labelled
    window label_visits as (partition by device_key, session_label order by event_order)
),

-- A pause forgets the campaign before it.
remembered as (
    select
        *,
        last_value(coalesce(campaign, case when pause is not null or is_first_of_label then '' end) ignore nulls)
            over (
                partition by device_key, session_label
                order by event_order
                rows between unbounded preceding and 1 preceding
            ) as campaign_before
    from paused
),

cut as (
    select
        device_key,
        event_key,
        event_order,
        instant,
        session_label,
        coalesce(is_first_of_label or pause is not null or campaign <> campaign_before, false) as is_start,
        case
            when is_after_timeout or pause = 'timeout' then 'timeout'
            when pause is not null then pause
            when is_first_of_label then 'session_id'
            else 'campaign'
        end as cause
    from remembered
    union all
    select * from plain
),

runs as (
    select
        device_key,
        event_key,
        event_order,
        instant,
        last_value(case when is_start then event_key end ignore nulls) over label_visits as run_key,
        last_value(case when is_start then instant end ignore nulls) over label_visits as run_started_at,
        last_value(case when is_start then cause end ignore nulls) over label_visits as run_cause
    from cut
    window label_visits as (
        partition by device_key, session_label
        order by event_order
        rows between unbounded preceding and current row
    )
),

-- 3. The longest session: the first event strictly later than the start plus the limit starts the next one.
long_runs as (
    select distinct runs.run_key
    from runs
    cross join settings
    where runs.instant > runs.run_started_at + settings.max_length
),

long_events as (
    select runs.*
    from runs
    inner join long_runs on runs.run_key = long_runs.run_key
),

starts as (
    select run_key, min(instant) as started_at
    from long_events
    group by run_key
    union all
    select starts.run_key, min(long_events.instant) as started_at
    from starts
    cross join settings
    inner join long_events
        on starts.run_key = long_events.run_key
        and long_events.instant > starts.started_at + settings.max_length
    group by starts.run_key, starts.started_at
),

pieces as (
    select
        long_events.run_key,
        long_events.event_key,
        long_events.event_order,
        max(starts.started_at) as piece
    from long_events
    inner join starts
        on long_events.run_key = starts.run_key
        and long_events.instant >= starts.started_at
    group by long_events.run_key, long_events.event_key, long_events.event_order
),

cut_runs as (
    select
        event_key,
        first_value(event_key) over (partition by run_key, piece order by event_order) as session_key
    from pieces
),

placed as (
    select
        runs.event_key,
        runs.device_key,
        runs.run_key,
        runs.run_cause,
        coalesce(cut_runs.session_key, runs.run_key) as session_key
    from runs
    left join cut_runs on runs.event_key = cut_runs.event_key
),

caused as (
    select
        placed.event_key,
        history.customer_id,
        history.source_device,
        placed.session_key,
        case
            when placed.session_key = placed.device_key then 'first'
            when placed.session_key <> placed.run_key then 'max_length'
            else placed.run_cause
        end as cut_cause
    from placed
    inner join history on placed.event_key = history.event_key
)

select * from caused
