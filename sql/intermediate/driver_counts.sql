-- Of those who dropped and those who advanced at a step, how many saw each signal; also stratified by touches.
-- Grain: (funnel, segment_by, segment, period, step_order, candidate_kind, signal, detail).

with

exposures as (select * from intermediate.step_exposures),

exposure_signals as (select * from intermediate.exposure_signals),

attempt_segments as (select * from intermediate.funnel_attempt_segments),

-- The whole, each segment, and each period of entry.
parts as (
    select
        exposures.funnel,
        exposures.customer_id,
        exposures.attempt,
        exposures.step_order,
        exposures.is_dropped,
        attempt_segments.segment_by,
        attempt_segments.segment,
        'all' as period
    from exposures
    inner join attempt_segments
        on exposures.funnel = attempt_segments.funnel
        and exposures.customer_id = attempt_segments.customer_id
        and exposures.attempt = attempt_segments.attempt
    union all
    select
        funnel,
        customer_id,
        attempt,
        step_order,
        is_dropped,
        'all' as segment_by,
        'all' as segment,
        strftime(period_start, '%Y-%m-%dT%H:%M:%SZ') as period
    from exposures
),

seen as (
    select
        parts.*,
        exposure_signals.candidate_kind,
        exposure_signals.signal,
        exposure_signals.detail,
        -- 0, 1-2, 3-6, 7-14, ...: once with all touches, once without those that are the signal.
        floor(log2(exposure_signals.touches + 1))::integer as touches_class,
        floor(log2(greatest(0, exposure_signals.touches - exposure_signals.own_touches) + 1))::integer
            as other_touches_class
    from parts
    inner join exposure_signals
        on parts.funnel = exposure_signals.funnel
        and parts.customer_id = exposure_signals.customer_id
        and parts.attempt = exposure_signals.attempt
        and parts.step_order = exposure_signals.step_order
),

totals as (
    select
        funnel,
        segment_by,
        segment,
        period,
        step_order,
        count(*) filter (where is_dropped) as dropped,
        count(*) filter (where not is_dropped) as advanced,
        count(distinct customer_id) as customers
    from seen
    where candidate_kind = 'all'
    group by all
),

with_signal as (
    select
        funnel,
        segment_by,
        segment,
        period,
        step_order,
        candidate_kind,
        signal,
        detail,
        count(*) filter (where is_dropped) as dropped_with,
        count(*) filter (where not is_dropped) as advanced_with,
        count(distinct customer_id) as customers_with,
        count(distinct customer_id) filter (where is_dropped) as customers_dropped_with
    from seen
    where candidate_kind <> 'all'
    group by all
),

-- Too few to say anything of, or nobody on one side to compare with. A part of one is the whole.
supported as (
    select
        with_signal.*,
        totals.dropped - with_signal.dropped_with as dropped_without,
        totals.advanced - with_signal.advanced_with as advanced_without
    from with_signal
    inner join totals
        on with_signal.funnel = totals.funnel
        and with_signal.segment_by = totals.segment_by
        and with_signal.segment = totals.segment
        and with_signal.period = totals.period
        and with_signal.step_order = totals.step_order
    inner join totals as whole
        on with_signal.funnel = whole.funnel
        and whole.segment_by = 'all'
        and whole.period = 'all'
        and with_signal.step_order = whole.step_order
    where
        with_signal.customers_with >= 25
        and with_signal.customers_with >= 0.02 * totals.customers
        and totals.dropped > 0
        and totals.advanced > 0
        and case
            when with_signal.segment_by = 'all' and with_signal.period = 'all'
                -- A declared signal that everybody has seen is no reason: its row says so.
                then
                    with_signal.candidate_kind = 'declared'
                    or with_signal.dropped_with + with_signal.advanced_with < totals.dropped + totals.advanced
            else
                with_signal.dropped_with + with_signal.advanced_with < totals.dropped + totals.advanced
                and totals.dropped + totals.advanced < whole.dropped + whole.advanced
        end
),

-- Per class of touches: who saw the signal, by touches beside it; and who did not, by all of theirs.
classes as (
    select
        funnel,
        segment_by,
        segment,
        period,
        step_order,
        candidate_kind,
        signal,
        detail,
        touches_class,
        other_touches_class,
        count(*) filter (where is_dropped) as dropped,
        count(*) filter (where not is_dropped) as advanced
    from seen
    group by all
),

pieces as (
    select
        supported.* exclude (
            dropped_with, dropped_without, advanced_with, advanced_without, customers_with, customers_dropped_with
        ),
        classes.other_touches_class as touches_class,
        classes.dropped as dropped_with,
        classes.advanced as advanced_with,
        0 as dropped_without,
        0 as advanced_without
    from supported
    inner join classes
        on supported.funnel = classes.funnel
        and supported.segment_by = classes.segment_by
        and supported.segment = classes.segment
        and supported.period = classes.period
        and supported.step_order = classes.step_order
        and supported.candidate_kind = classes.candidate_kind
        and supported.signal = classes.signal
        and supported.detail = classes.detail
    union all
    select
        supported.* exclude (
            dropped_with, dropped_without, advanced_with, advanced_without, customers_with, customers_dropped_with
        ),
        classes.touches_class,
        0 as dropped_with,
        0 as advanced_with,
        case when classes.candidate_kind = 'all' then classes.dropped else -classes.dropped end as dropped_without,
        case when classes.candidate_kind = 'all' then classes.advanced else -classes.advanced end as advanced_without
    from supported
    inner join classes
        on supported.funnel = classes.funnel
        and supported.segment_by = classes.segment_by
        and supported.segment = classes.segment
        and supported.period = classes.period
        and supported.step_order = classes.step_order
        and (
            classes.candidate_kind = 'all'
            or (
                supported.candidate_kind = classes.candidate_kind
                and supported.signal = classes.signal
                and supported.detail = classes.detail
            )
        )
),

strata as (
    select
        funnel,
        segment_by,
        segment,
        period,
        step_order,
        candidate_kind,
        signal,
        detail,
        touches_class,
        sum(dropped_with)::double as a,
        sum(dropped_without)::double as b,
        sum(advanced_with)::double as c,
        sum(advanced_without)::double as d
    from pieces
    group by all
    having sum(dropped_with + dropped_without + advanced_with + advanced_without) > 1
),

-- Cochran (1954), Mantel and Haenszel (1959): what each stratum expects, added up.
stratified as (
    select
        funnel,
        segment_by,
        segment,
        period,
        step_order,
        candidate_kind,
        signal,
        detail,
        count(*) filter (where (a + b) * (c + d) * (a + c) * (b + d) > 0) as strata,
        list_sum(list(a - (a + b) * (a + c) / (a + b + c + d) order by touches_class)) as excess,
        list_sum(list(
            (a + b) * (c + d) * (a + c) * (b + d) / ((a + b + c + d) * (a + b + c + d) * (a + b + c + d - 1))
            order by touches_class
        )) as variance,
        list_sum(list(a * d / (a + b + c + d) order by touches_class)) as concordant,
        list_sum(list(b * c / (a + b + c + d) order by touches_class)) as discordant
    from strata
    group by all
),

counts as (
    select
        supported.*,
        coalesce(stratified.strata, 0) as strata,
        coalesce(stratified.excess, 0) as excess,
        coalesce(stratified.variance, 0) as variance,
        stratified.concordant / nullif(stratified.discordant, 0) as odds_ratio_stratified
    from supported
    left join stratified
        on supported.funnel = stratified.funnel
        and supported.segment_by = stratified.segment_by
        and supported.segment = stratified.segment
        and supported.period = stratified.period
        and supported.step_order = stratified.step_order
        and supported.candidate_kind = stratified.candidate_kind
        and supported.signal = stratified.signal
        and supported.detail = stratified.detail
)

select * from counts
