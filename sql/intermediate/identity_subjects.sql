-- Identifiers that explicit merges make one subject: where two of them are strong, they do not conflict.
-- Grain: (identifier_key).

with recursive

merges as (select * from intermediate.identity_merges),

both_ways as (
    select from_key, to_key from merges
    union
    select to_key, from_key from merges
),

subjects using key (identifier_key) as (
    select distinct from_key as identifier_key, from_key as subject_key
    from both_ways
    union
    select both_ways.to_key as identifier_key, min(subjects.subject_key) as subject_key
    from subjects
    inner join both_ways on subjects.identifier_key = both_ways.from_key
    inner join recurring.subjects as known on both_ways.to_key = known.identifier_key
    where subjects.subject_key < known.subject_key
    group by both_ways.to_key
)

select * from subjects
