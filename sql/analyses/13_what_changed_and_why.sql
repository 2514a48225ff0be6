-- What changed in the checkout, when, and which signal rose with it?
select
    step,
    strftime(started_at, '%d %b') as started,
    strftime(ended_at, '%d %b') as ended,
    round(from_rate, 3) as from_rate,
    round(to_rate, 3) as to_rate,
    signal,
    detail,
    round(signal_share, 2) as signal_share,
    round(excess_drops, 1) as excess_drops,
    revenue,
    currency
from marts.changes
where funnel = 'checkout' and segment_by = 'all'
order by started_at, step_order
