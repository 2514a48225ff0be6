-- Which connected-experience strategy do the journeys show, and how many of them convert?
select
    connected_experience,
    count(*) as journeys,
    count(*) filter (where status = 'converted') as converted,
    round(
        count(*) filter (where status = 'converted') / nullif(count(*) filter (where status <> 'open'), 0), 3
    ) as conversion_of_mature,
    sum(revenue) as revenue
from marts.journeys
group by connected_experience
order by journeys desc
