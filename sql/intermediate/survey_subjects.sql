-- What each answer to a survey judges: the touchpoint and the stage that came before it in its journey.
-- Grain: (event_key).

with

events as (select * from staging.events),

history as (select * from intermediate.touchpoint_history),

journey_events as (select * from intermediate.journey_events),

-- The answer, and what else is about a survey: an invitation, a form that opens.
survey_events as (
    select
        event_key,
        event_type = 'survey_answered' or survey_score is not null as is_answer
    from events
    where starts_with(event_type, 'survey_') or survey_kind is not null or survey_score is not null
),

surveyed_journeys as (
    select distinct journey_events.journey_key
    from journey_events
    inner join survey_events on journey_events.event_key = survey_events.event_key and survey_events.is_answer
),

-- Nobody judges the question itself. What the company did counts: a delivery is what most surveys ask about.
touches as (
    select
        journey_events.event_key,
        survey_events.is_answer,
        last_value(case when survey_events.event_key is null then journey_events.event_key end ignore nulls) over earlier
            as judged_key,
        last_value(case when survey_events.event_key is null then journey_events.stage_order end ignore nulls) over earlier
            as judged_stage_order
    from journey_events
    inner join surveyed_journeys on journey_events.journey_key = surveyed_journeys.journey_key
    left join survey_events on journey_events.event_key = survey_events.event_key
    window earlier as (
        partition by journey_events.journey_key
        order by journey_events.touchpoint_order
        rows between unbounded preceding and 1 preceding
    )
),

subjects as (
    select
        touches.event_key,
        judged.customer_id,
        judged.event_id as judged_event_id,
        touches.judged_stage_order
    from touches
    inner join history as judged on touches.judged_key = judged.event_key
    where touches.is_answer
)

select * from subjects
