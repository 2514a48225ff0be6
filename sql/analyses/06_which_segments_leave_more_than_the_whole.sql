-- Which segments leave a step more often than all customers do? Steps that at least 50 of the segment reached.
select
    parts.segment_by,
    parts.segment,
    parts.step,
    parts.customers_reached_mature,
    parts.drop_rate_mature,
    whole.drop_rate_mature as drop_rate_of_all,
    round(parts.drop_rate_mature - whole.drop_rate_mature, 3) as difference
from marts.funnel_drops as parts
inner join marts.funnel_drops as whole
    on parts.funnel = whole.funnel
    and parts.step_order = whole.step_order
    and whole.segment_by = 'all'
where
    parts.funnel = 'checkout'
    and parts.segment_by <> 'all'
    and parts.customers_reached_mature >= 50
    and parts.drop_rate_mature > whole.drop_rate_mature
order by difference desc, parts.segment_by, parts.segment, parts.step
limit 8
