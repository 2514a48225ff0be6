-- What may stand behind a drop: failures, stated reasons, friction and prices, as events show them.
-- Grain: (event_id, signal, funnel, step_order).

with

history as (select * from intermediate.touchpoint_history),

events as (select * from staging.events),

session_events as (select * from intermediate.session_events),

signal_matches as (select * from taxonomy.signal_matches),

step_matches as (select * from taxonomy.step_matches),

funnel_steps as (select * from taxonomy.funnel_steps),

declared as (
    select
        signal_matches.customer_id,
        signal_matches.event_order,
        signal_matches.signal,
        concat_ws(
            ': ',
            events.event_type,
            coalesce(events.error_code, events.support_topic, events.properties ->> '$.reason', events.survey_kind)
        ) as detail,
        [signal_matches.event_key] as event_keys,
        null::uhugeint as session_key,
        null::varchar as funnel,
        null::integer as step_order
    from signal_matches
    inner join events on signal_matches.event_key = events.event_key
),

-- The same step on the same product, page or screen for the third time in one visit, and each time after it. Three
-- products viewed are no friction: where no product is named, address and properties have to be the same.
steps as (
    select
        step_matches.customer_id,
        step_matches.event_order,
        step_matches.event_key,
        step_matches.predicate,
        session_events.session_key,
        lag(step_matches.event_key) over of_step as second_last,
        lag(step_matches.event_key, 2) over of_step as third_last
    from step_matches
    inner join session_events on step_matches.event_key = session_events.event_key
    inner join events on step_matches.event_key = events.event_key
    window of_step as (
        partition by
            session_events.session_key,
            step_matches.predicate,
            events.product_id,
            case
                when events.product_id is null
                    then json_array(events.page_url, events.page_path, events.screen, events.properties)::varchar
            end
        order by step_matches.event_order
    )
),

repeated as (
    select
        steps.customer_id,
        steps.event_order,
        'repeated_step' as signal,
        funnel_steps.step as detail,
        [steps.third_last, steps.second_last, steps.event_key] as event_keys,
        steps.session_key,
        funnel_steps.funnel,
        funnel_steps.step_order
    from steps
    inner join funnel_steps on steps.predicate = funnel_steps.predicate
    where steps.third_last is not null
),

visits as (
    select
        history.customer_id,
        history.event_order,
        history.event_key,
        history.event_type,
        session_events.session_key,
        lag(history.event_type) over of_visit as back_type,
        lag(history.event_type, 2) over of_visit as forth_type,
        lag(history.event_type, 3) over of_visit as first_type,
        lag(history.event_key) over of_visit as back_key,
        lag(history.event_key, 2) over of_visit as forth_key,
        lag(history.event_key, 3) over of_visit as first_key
    from history
    inner join session_events on history.event_key = session_events.event_key
    window of_visit as (partition by session_events.session_key order by history.event_order)
),

-- There, back, and there and back again: A, B, A, B.
rounds as (
    select
        *,
        unnest([back_key, event_key]) as end_key
    from visits
    where first_type = back_type and forth_type = event_type and back_type <> event_type
),

-- One of the two is a step.
cycles as (
    select distinct
        rounds.customer_id,
        rounds.event_order,
        'back_and_forth' as signal,
        least(rounds.back_type, rounds.event_type) || ' / ' || greatest(rounds.back_type, rounds.event_type) as detail,
        [rounds.first_key, rounds.forth_key, rounds.back_key, rounds.event_key] as event_keys,
        rounds.session_key,
        funnel_steps.funnel,
        funnel_steps.step_order
    from rounds
    inner join step_matches on rounds.end_key = step_matches.event_key
    inner join funnel_steps on step_matches.predicate = funnel_steps.predicate
),

shown as (
    select * from declared
    union all
    select * from repeated
    union all
    select * from cycles
),

keys as (
    select
        * exclude (event_keys),
        unnest(event_keys) as event_key,
        generate_subscripts(event_keys, 1) as place
    from shown
),

named as (
    select
        keys.* exclude (event_key, place),
        list(history.event_id order by keys.place) as event_ids,
        list(keys.event_key order by keys.place) as event_keys,
        max(history.occurred_at) as occurred_at
    from keys
    inner join history on keys.event_key = history.event_key
    group by all
),

signalled as (
    select
        named.event_ids[-1] as event_id,
        named.customer_id,
        named.event_order,
        named.occurred_at,
        named.signal,
        named.detail,
        named.event_ids,
        named.event_keys,
        'session:' || starts.event_id as session_id,
        named.funnel,
        named.step_order
    from named
    left join history as starts on named.session_key = starts.event_key
)

select * from signalled
