-- Which primary reason for leaving costs the most revenue, and is it growing?
select
    step,
    reason,
    signal,
    top_detail,
    customers,
    revenue_at_risk,
    currency,
    customers_previous_30_days,
    customers_last_30_days,
    strategy
from marts.pain_points
where funnel = 'checkout' and segment_by = 'all'
order by revenue_at_risk desc, step_order, reason, signal
