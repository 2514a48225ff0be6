-- Journeys are not linear: which steps back between stages are the most frequent?
select
    transitions.from_stage,
    transitions.to_stage,
    count(*) as times,
    count(distinct transitions.journey_id) as journeys
from marts.stage_transitions as transitions
inner join marts.stages as source on transitions.from_stage = source.stage
inner join marts.stages as target on transitions.to_stage = target.stage
where target.stage_order < source.stage_order
group by transitions.from_stage, transitions.to_stage
order by times desc, transitions.from_stage, transitions.to_stage
limit 8
