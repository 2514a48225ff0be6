-- How slow the way to a step has to be to count as slow: longer than that of 95 in 100 who took it.
-- Grain: (funnel, step_order).

with

attempt_steps as (select * from intermediate.attempt_steps),

funnels as (select * from taxonomy.funnels),

-- In any order there is no way from one step to the next. Fewer than twenty ways have no pace.
paces as (
    select
        attempt_steps.funnel,
        attempt_steps.step_order,
        quantile_cont(epoch(attempt_steps.taken_at - attempt_steps.left_at), 0.95) as slow_seconds
    from attempt_steps
    inner join funnels on attempt_steps.funnel = funnels.funnel
    where funnels.matching <> 'any' and attempt_steps.status <> 'excluded' and attempt_steps.step_order > 1
    group by attempt_steps.funnel, attempt_steps.step_order
    having count(*) >= 20
)

select * from paces
