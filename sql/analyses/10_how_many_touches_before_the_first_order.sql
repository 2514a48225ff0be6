-- How many touches and visits come before a customer's first order, by the channel of the first touch?
with

before_order as (
    select
        touchpoints.journey_id,
        journeys.first_channel,
        count(*) as touchpoints,
        count(distinct touchpoints.session_id) as visits
    from marts.touchpoints
    inner join marts.journeys on touchpoints.journey_id = journeys.journey_id
    where
        journeys.journey_order = 1
        and journeys.status = 'converted'
        and touchpoints.occurred_at < journeys.converted_at
    group by touchpoints.journey_id, journeys.first_channel
)

select
    first_channel,
    count(*) as first_orders,
    median(touchpoints) as median_touches,
    median(visits) as median_visits,
    max(touchpoints) as most_touches
from before_order
group by first_channel
order by first_orders desc, first_channel
