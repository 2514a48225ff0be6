-- The entry that counts, where one pass over a customer's events finds it; and of a plain funnel the steps that it took.
-- Grain: (funnel, customer_id).

with

step_matches as (select * from taxonomy.step_matches),

funnels as (select * from taxonomy.funnels where is_one_pass),

-- Narrow, and sorted once for all funnels: an instant in microseconds, and in its last five bits a predicate's number.
packed as (
    select
        customer_id,
        epoch_us(occurred_at) * 32 + predicate as seen
    from step_matches
    where predicate <= 31
),

-- Sorted first: lists of customers whose events come one here, one there, take thrice as long.
in_order as (
    select *
    from packed
    order by customer_id, seen
),

together as (
    select
        customer_id,
        list_sort(list(seen)) as timeline
    from in_order
    group by customer_id
),

timelines as (
    select
        *,
        list_bool_or(list_transform(
            timeline, lambda seen, place: seen >> 5 = timeline[place + 1] >> 5
        )) is true as has_ties
    from together
),

-- The same with steps in the place of predicates.
translated as (
    select
        funnels.funnel,
        timelines.customer_id,
        timelines.has_ties,
        funnels.required_steps,
        funnels.is_plain,
        funnels.entry,
        funnels.times_between,
        funnels.times_between is null and funnels.required_steps <= 5 as is_short,
        coalesce(epoch_us(funnels.funnel_window), 1000000000000000000) as funnel_window,
        epoch_us(funnels.entered_from) as entered_from,
        epoch_us(funnels.entered_until) as entered_until,
        list_transform(
            timelines.timeline, lambda seen: seen - (seen & 31) + funnels.steps_of[seen & 31]
        ) as timeline
    from timelines
    cross join funnels
),

-- And without what begins before or after the time that is asked for, and what is of other funnels, where it matters.
passages as (
    select
        * exclude (timeline),
        case
            when not is_short or has_ties or entered_from is not null or entered_until is not null
                then list_filter(
                    timeline,
                    lambda seen: case seen & 31
                        when 0 then false
                        when 1
                            then
                                coalesce(seen >> 5 >= entered_from, true)
                                and coalesce(seen >> 5 < entered_until, true)
                        else true
                    end
                )
            else timeline
        end as timeline
    from translated
),

-- Which of two events of one instant comes first is asked in `funnel_chains`.
told_apart as (
    select
        *,
        case
            when has_ties
                then list_bool_or(list_transform(
                    timeline, lambda seen, place: seen >> 5 = timeline[place + 1] >> 5
                )) is true
            else false
        end as is_tied
    from passages
),

-- Per step the entry that had reached it when last it was taken. Nothing later serves better by an earlier entry, so one
-- is enough: the latest, or the first (the algorithm of ClickHouse's `windowFunnel`). `levels` is for most funnels, and
-- takes half of the time; `pairs` have, beside each entry, when its step was taken.
reached as (
    select
        *,
        case
            when is_short and not is_tied
                then list_reduce(
                    timeline,
                    lambda level, seen: struct_pack(
                        first := case
                            when seen & 31 = 1 and (entry = 'best' or level.first is null) then seen >> 5
                            else level.first
                        end,
                        second := case
                            when seen & 31 = 2 and level.first >= (seen >> 5) - funnel_window then level.first
                            else level.second
                        end,
                        third := case
                            when seen & 31 = 3 and level.second >= (seen >> 5) - funnel_window then level.second
                            else level.third
                        end,
                        fourth := case
                            when seen & 31 = 4 and level.third >= (seen >> 5) - funnel_window then level.third
                            else level.fourth
                        end,
                        fifth := case
                            when seen & 31 = 5 and level.fourth >= (seen >> 5) - funnel_window then level.fourth
                            else level.fifth
                        end
                    ),
                    struct_pack(
                        first := null::bigint,
                        second := null::bigint,
                        third := null::bigint,
                        fourth := null::bigint,
                        fifth := null::bigint
                    )
                )
        end as levels,
        case
            when not is_short and not is_tied
                then list_reduce(
                    timeline,
                    lambda pairs, seen: case
                        when seen & 31 = 1
                            then case
                                when entry = 'first' and pairs[1] is not null then pairs
                                else list_concat([seen >> 5, seen >> 5], pairs[3:])
                            end
                        when
                            pairs[2 * (seen & 31) - 3] >= (seen >> 5) - funnel_window
                            and coalesce(pairs[2 * (seen & 31) - 2] >= (seen >> 5) - times_between[seen & 31], true)
                            then list_concat(
                                pairs[:2 * (seen & 31) - 2],
                                [pairs[2 * (seen & 31) - 3], seen >> 5],
                                pairs[2 * (seen & 31) + 1:]
                            )
                        else pairs
                    end,
                    list_resize([]::bigint[], 2 * required_steps)
                )
        end as pairs
    from told_apart
),

entered as (
    select
        * exclude (levels, pairs),
        coalesce(
            levels.fifth, levels.fourth, levels.third, levels.second, levels.first,
            list_filter(pairs, lambda instant: instant is not null)[-2]
        ) as entered_at
    from reached
),

-- Each step as early as can be. (Materialized: a filter would be computed beside the columns, all of it twice.)
taken as materialized (
    select
        funnel,
        customer_id,
        is_tied,
        make_timestamptz(entered_at) as entered_at,
        case when is_plain and not is_tied then list_transform(
            list_reduce(
                list_filter(
                    timeline, lambda seen: seen >> 5 >= entered_at and seen >> 5 <= entered_at + funnel_window
                ),
                lambda steps_taken, seen: case
                    when seen & 31 = len(steps_taken) + 1
                        then list_append(steps_taken, seen >> 5)
                    else steps_taken
                end,
                []::bigint[]
            ),
            lambda taken_at: make_timestamptz(taken_at)
        ) end as step_times
    from entered
),

paths as (
    select *
    from taken
    where is_tied or entered_at is not null
)

select * from paths
