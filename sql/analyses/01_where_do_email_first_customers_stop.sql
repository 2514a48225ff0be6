-- Where do customers whose journey began with an e-mail stop, if they do not buy?
select
    journeys.furthest_stage,
    count(*) as journeys,
    count(*) / sum(count(*)) over () as share
from marts.journeys
inner join marts.stages on journeys.furthest_stage = stages.stage
where journeys.first_channel = 'email' and journeys.status = 'abandoned'
group by journeys.furthest_stage, stages.stage_order
order by stages.stage_order
