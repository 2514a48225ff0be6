-- Which identifiers are one customer: links are tried in their order, and none may join two strong ids of one namespace.
-- Grain: (identifier_key).

with recursive

identifiers as (select * from intermediate.identifiers),

links as (select * from intermediate.identity_links),

candidates as (select * from intermediate.identity_candidates),

subjects as (select * from intermediate.identity_subjects),

members as (
    select
        candidates.candidate_key,
        identifiers.*,
        coalesce(subjects.subject_key, identifiers.identifier_key) as subject_key
    from candidates
    inner join identifiers on candidates.identifier_key = identifiers.identifier_key
    left join subjects on candidates.identifier_key = subjects.identifier_key
),

-- By far the most candidates hold one strong id at most: there nothing can conflict, and the order of links is all one.
conflicted as (
    select distinct candidate_key
    from (
        select candidate_key
        from members
        where class = 'strong'
        group by candidate_key, namespace
        having count(distinct subject_key) > 1
    ) as strong_namespaces
),

conflicted_members as (
    select members.*
    from members
    inner join conflicted on members.candidate_key = conflicted.candidate_key
),

trials as (
    select
        from_members.candidate_key,
        links.from_key,
        links.to_key,
        links.tier,
        row_number() over (
            partition by from_members.candidate_key
            order by
                links.tier,
                links.first_place,
                least(
                    from_members.namespace || ':' || from_members.identifier, to_members.namespace || ':' || to_members.identifier
                ),
                greatest(
                    from_members.namespace || ':' || from_members.identifier, to_members.namespace || ':' || to_members.identifier
                )
        ) as turn
    from links
    inner join conflicted_members as from_members on links.from_key = from_members.identifier_key
    inner join conflicted_members as to_members on links.to_key = to_members.identifier_key
),

-- One link of each candidate a round. The row of key 0 counts the rounds.
walk using key (identifier_key) as (
    select identifier_key, identifier_key as component_key, 0 as turn
    from conflicted_members
    union all
    select 0::uhugeint as identifier_key, 0::uhugeint as component_key, 1 as turn
    union
    (
        with

        tried as (
            select
                trials.candidate_key,
                trials.tier,
                least(from_labels.component_key, to_labels.component_key) as kept_key,
                greatest(from_labels.component_key, to_labels.component_key) as joined_key
            from trials
            inner join walk as rounds on trials.turn = rounds.turn
            inner join recurring.walk as from_labels on trials.from_key = from_labels.identifier_key
            inner join recurring.walk as to_labels on trials.to_key = to_labels.identifier_key
            where from_labels.component_key <> to_labels.component_key
        ),

        strong_labels as (
            select
                labels.component_key,
                conflicted_members.candidate_key,
                conflicted_members.namespace,
                conflicted_members.subject_key
            from recurring.walk as labels
            inner join conflicted_members on labels.identifier_key = conflicted_members.identifier_key
            where conflicted_members.class = 'strong'
        ),

        refused as (
            select distinct tried.candidate_key
            from tried
            inner join strong_labels as kept on tried.kept_key = kept.component_key
            inner join strong_labels as joined
                on tried.joined_key = joined.component_key
                and kept.namespace = joined.namespace
                and kept.subject_key <> joined.subject_key
            -- What was said in so many words, nothing refuses.
            where tried.tier > 0
        )

        select labels.identifier_key, tried.kept_key as component_key, 0 as turn
        from tried
        inner join recurring.walk as labels on tried.joined_key = labels.component_key
        where tried.candidate_key not in (from refused)
        union all
        select 0::uhugeint as identifier_key, 0::uhugeint as component_key, rounds.turn + 1 as turn
        from walk as rounds
        where rounds.turn between 1 and (select coalesce(max(turn), 0) from trials)
    )
),

components as (
    select
        candidates.identifier_key,
        candidates.candidate_key,
        coalesce(walk.component_key, candidates.candidate_key) as component_key
    from candidates
    left join walk on candidates.identifier_key = walk.identifier_key
)

select * from components
