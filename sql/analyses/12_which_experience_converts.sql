-- Which connected-experience strategy do the journeys show, and how many of them convert?
-- Open journeys count below the line: leaving them out would count those who buy at once and miss those who leave late.
select
    connected_experience,
    count(*) as journeys,
    count(*) filter (where status = 'converted') as converted,
    count(*) filter (where status = 'open') as still_open,
    round(count(*) filter (where status = 'converted') / count(*), 3) as converted_so_far,
    sum(revenue) as revenue
from marts.journeys
group by connected_experience
order by journeys desc
