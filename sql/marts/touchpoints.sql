-- Every event that names a customer, in that customer's order, with its session, journey and stage.
-- Grain: (event_id).

with

events as (select * from staging.events),

history as (select * from intermediate.touchpoint_history),

-- What the telling of an order that counts does not know itself: another telling has its amount.
amounts as (
    select history.event_key, events.revenue, events.currency
    from intermediate.touchpoint_history as history
    inner join staging.events as events on history.amount_key = events.event_key
    where history.amount_key is not null
),

-- A session and a journey are named after their first event.
session_starts as (select event_key, event_id from intermediate.touchpoint_history),

journey_starts as (select event_key, event_id from intermediate.touchpoint_history),

journey_events as (select * from intermediate.journey_events),

session_events as (select * from intermediate.session_events),

survey_subjects as (select * from intermediate.survey_subjects),

stages as (select * from taxonomy.stages),

touchpoints as (
    select
        -- ids
        history.customer_id,
        'journey:' || journey_starts.event_id as journey_id,
        'session:' || session_starts.event_id as session_id,
        history.event_id,

        -- what happened
        history.occurred_at,
        history.channel,
        history.event_type,
        history.initiator,
        coalesce(reached.stage, 'unlabelled') as stage,
        coalesce(furthest.stage, 'unlabelled') as furthest_stage,
        journey_events.touchpoint_order,
        coalesce(latest.stage, 'unlabelled') as current_stage,
        reached.moment,
        reached.phase,
        history.is_goal,
        history.event_order,
        journey_events.journey_order,

        -- circumstances
        events.device,
        events.country,
        events.campaign_source,
        events.campaign_medium,
        events.campaign_name,
        events.page_path,
        events.screen,

        -- what the event carries
        events.product_id,
        events.order_id,
        -- An order told again brings in nothing; what is below 0 goes out.
        case
            when not history.is_repeated_order or events.revenue < 0 then coalesce(amounts.revenue, events.revenue)
        end as revenue,
        coalesce(amounts.currency, events.currency) as currency,
        events.error_code,
        events.support_topic,
        events.survey_kind,
        events.survey_score,
        events.properties,
        history.is_repeated_order,
        survey_subjects.judged_event_id,
        judged.stage as judged_stage
    from events
    inner join history on events.event_key = history.event_key
    left join amounts on events.event_key = amounts.event_key
    inner join journey_events on events.event_key = journey_events.event_key
    inner join journey_starts on journey_events.journey_key = journey_starts.event_key
    left join session_events on events.event_key = session_events.event_key
    left join session_starts on session_events.session_key = session_starts.event_key
    left join survey_subjects on events.event_key = survey_subjects.event_key
    left join stages as judged on survey_subjects.judged_stage_order = judged.stage_order
    left join stages as reached on journey_events.stage_order = reached.stage_order
    left join stages as furthest on journey_events.furthest_stage_order = furthest.stage_order
    left join stages as latest on journey_events.current_stage_order = latest.stage_order
)

select * from touchpoints
