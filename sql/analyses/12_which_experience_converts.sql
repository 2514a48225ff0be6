-- Which connected-experience strategy do the journeys show, how many of them convert, and what do they bring in?
-- Open journeys count below the line: leaving them out would count those who buy at once and miss those who leave late.
-- A row per strategy and currency: the counts are the strategy's, in whatever currency or none; money is not added up.
with

counted as (
    select
        connected_experience,
        count(*) as journeys,
        count(*) filter (where status = 'converted') as converted,
        count(*) filter (where status = 'open') as still_open,
        round(count(*) filter (where status = 'converted') / count(*), 3) as converted_so_far
    from marts.journeys
    group by connected_experience
),

earned as (
    select connected_experience, currency, sum(revenue) as revenue, sum(net_revenue) as net_revenue
    from marts.journeys
    where revenue <> 0 or net_revenue <> 0
    group by connected_experience, currency
)

select counted.*, earned.currency, earned.revenue, earned.net_revenue
from counted
left join earned on counted.connected_experience = earned.connected_experience
order by counted.journeys desc, counted.connected_experience, earned.currency
