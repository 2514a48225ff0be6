-- Where are customers lost between devices and channels? Any evidence counts, not the primary reason alone.
select
    funnel,
    step,
    signal,
    detail as channel,
    count(distinct customer_id) as customers
from marts.drop_reasons
where reason = 'hand_off_lost'
group by funnel, step_order, step, signal, channel
order by funnel, step_order, customers desc, signal, channel
