-- At which steps do most customers leave without a trace of why? There, another event is worth sending.
select
    funnel,
    step,
    count(*) as dropped,
    count(*) filter (where reason = 'unknown') as unknown,
    count(*) filter (where reason = 'silence') as silent,
    round(count(*) filter (where reason in ('unknown', 'silence')) / count(*), 3) as share_without_a_reason
from marts.drop_reasons
where evidence_rank = 1
group by funnel, step_order, step
order by share_without_a_reason desc, funnel, step_order
