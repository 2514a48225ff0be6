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
-- them were, and so on, until no two labels are (contraction, after Boruvka, 1926). Keys are random, so each round leaves
-- a fraction of the one before it: a chain of ten thousand ends in two dozen rounds. Beside the links, each identifier
-- and its label so far: no label is larger than the one before it.
rounds as (
    select from_key as one, to_key as other, true as is_link
    from between_them
    union all
    select to_key as one, from_key as other, true as is_link
    from between_them
    union all
    select identifier_key as one, identifier_key as other, false as is_link
    from identifiers
    union all
    (
        with

        labels as (
            select one, least(one, min(other)) as label
            from rounds
            where is_link
            group by one
        )

        select distinct one_labels.label as one, other_labels.label as other, true as is_link
        from rounds
        inner join labels as one_labels on rounds.one = one_labels.one
        inner join labels as other_labels on rounds.other = other_labels.one
        where rounds.is_link and one_labels.label <> other_labels.label
        union all
        select rounds.one, labels.label as other, false as is_link
        from rounds
        inner join labels on rounds.other = labels.one
        where not rounds.is_link
    )
),

candidates as (
    select one as identifier_key, min(other) as candidate_key
    from rounds
    where not is_link
    group by one
)

select * from candidates
