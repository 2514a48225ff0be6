-- How long does it take from the first look to the order, by the channel in which it began?
select
    touchpoints.channel,
    count(*) as orders,
    round(median(attempts.seconds_to_convert) / 60, 1) as median_minutes,
    round(quantile_cont(attempts.seconds_to_convert, 0.9) / 60, 1) as p90_minutes
from marts.funnel_attempts as attempts
inner join marts.touchpoints on attempts.entry_event_id = touchpoints.event_id
where attempts.funnel = 'acquisition' and attempts.status = 'converted'
group by touchpoints.channel
order by orders desc
