-- What is seen more often among those who leave a step than among those who go on?
select
    funnel,
    step,
    signal,
    detail,
    dropped_with,
    dropped_without,
    advanced_with,
    advanced_without,
    round(odds_ratio, 1) as odds_ratio,
    q_value
from marts.drop_drivers
where is_driver and segment_by = 'all' and period = 'all'
order by funnel, step_order, q_value, signal, detail
