-- What do customers who drop at the payment do within the next seven days?
select
    coalesce(next_event_types[1], '(nothing)') as next_touch,
    coalesce(next_channels[1], '') as channel,
    count(*) as customers,
    round(median(seconds_to_next) / 3600, 1) as median_hours_until_then
from marts.funnel_exits
where funnel = 'checkout' and step = 'payment'
group by next_touch, channel
order by customers desc, next_touch, channel
