-- Identifiers that links connect, however many steps apart: they may be one customer, if nothing conflicts.
-- Grain: (identifier_key).

with recursive

identifiers as (select * from intermediate.identifiers),

links as (select * from intermediate.identity_links),

between_them as (
    select from_key, to_key
    from links
    where
        from_key in (select identifier_key from identifiers)
        and to_key in (select identifier_key from identifiers)
),

-- Everyone takes the smallest of its neighbours and itself as its label; then the labels are linked as those who bear
-- them were, and so on, until no two labels are (contraction, after Boruvka, 1926). After two rounds few are left, and
-- each round decides anew what is smallest, so that no order of keys keeps a chain long: ten thousand end in two dozen
-- rounds. Beside the links, each identifier and its label so far.
rounds as (
    select from_key as one, to_key as other, true as is_link, 0 as round
    from between_them
    union all
    select to_key as one, from_key as other, true as is_link, 0 as round
    from between_them
    union all
    select identifier_key as one, identifier_key as other, false as is_link, 0 as round
    from identifiers
    union all
    (
        with

        salted as (
            select
                one,
                other,
                case when round < 2 then 0::uhugeint else md5_number(round::varchar) end as salt
            from rounds
            where is_link
        ),

        labels as (
            select
                one,
                xor(least(xor(one, min(salt)), min(xor(other, salt))), min(salt)) as label
            from salted
            group by one
        )

        select distinct
            one_labels.label as one,
            other_labels.label as other,
            true as is_link,
            rounds.round + 1 as round
        from rounds
        inner join labels as one_labels on rounds.one = one_labels.one
        inner join labels as other_labels on rounds.other = other_labels.one
        where rounds.is_link and one_labels.label <> other_labels.label
        union all
        select rounds.one, labels.label as other, false as is_link, rounds.round + 1 as round
        from rounds
        inner join labels on rounds.other = labels.one
        where not rounds.is_link
    )
),

labelled as (
    select one as identifier_key, arg_max(other, round) as label, max(round) as rounds
    from rounds
    where not is_link
    group by one
),

-- The smallest of all gives its name, as the first two rounds have it by themselves.
smallest as (
    select label, min(identifier_key) as candidate_key
    from labelled
    where rounds > 2
    group by label
),

candidates as (
    select labelled.identifier_key, coalesce(smallest.candidate_key, labelled.label) as candidate_key
    from labelled
    left join smallest on labelled.label = smallest.label
)

select * from candidates
