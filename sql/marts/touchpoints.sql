-- Every event that names a customer, in that customer's order, with its session, journey and stage.
-- Grain: (event_id).

with

events as (select * from intermediate.identified_events),

journey_events as (select * from intermediate.journey_events),

session_events as (select * from intermediate.session_events),

stages as (select * from taxonomy.stages),

touchpoints as (
    select
        -- ids
        events.customer_id,
        journey_events.journey_id,
        session_events.session_id,
        events.event_id,

        -- what happened
        events.occurred_at,
        events.channel,
        events.event_type,
        events.initiator,
        journey_events.stage,
        coalesce(furthest.stage, 'unlabelled') as furthest_stage,
        journey_events.touchpoint_order,
        journey_events.current_stage,
        journey_events.moment,
        journey_events.phase,
        journey_events.is_goal,
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
        events.revenue,
        events.currency,
        events.error_code,
        events.support_topic,
        events.survey_kind,
        events.survey_score,
        events.properties
    from events
    inner join journey_events on events.event_id = journey_events.event_id
    left join session_events on events.event_id = session_events.event_id
    left join stages as furthest on journey_events.furthest_stage_order = furthest.stage_order
)

select * from touchpoints
