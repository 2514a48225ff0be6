-- Identifiers that links connect, however many steps apart: they may be one customer, if nothing conflicts.
-- Grain: (identifier_key).

with recursive

identifiers as (select * from intermediate.identifiers),

links as (select * from intermediate.identity_links),

-- Everyone takes the smallest label next door, and so does whoever lent them theirs (Shiloach and Vishkin, 1982): a
-- chain of ten thousand ends in a dozen rounds.
candidates using key (identifier_key) as (
    select identifier_key, identifier_key as candidate_key
    from identifiers
    union
    (
        with

        differing as (
            select
                links.from_key,
                links.to_key,
                from_labels.candidate_key as from_label,
                to_labels.candidate_key as to_label
            from links
            inner join recurring.candidates as from_labels on links.from_key = from_labels.identifier_key
            inner join recurring.candidates as to_labels on links.to_key = to_labels.identifier_key
            where from_labels.candidate_key <> to_labels.candidate_key
        ),

        lower_labels as (
            select greatest(from_label, to_label) as identifier_key, least(from_label, to_label) as candidate_key
            from differing
            union all
            select
                case when from_label > to_label then from_key else to_key end as identifier_key,
                least(from_label, to_label) as candidate_key
            from differing
            union all
            select labelled.identifier_key, lenders.candidate_key
            from recurring.candidates as labelled
            inner join recurring.candidates as lenders on labelled.candidate_key = lenders.identifier_key
            where lenders.candidate_key < labelled.candidate_key
        )

        select lower_labels.identifier_key, min(lower_labels.candidate_key) as candidate_key
        from lower_labels
        where exists (from candidates)
        group by lower_labels.identifier_key
    )
)

select * from candidates
