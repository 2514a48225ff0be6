-- Who was said to be one person, in so many words; no limit and no conflict stops it.
-- Grain: (from_key, to_key).

with

evidence as (select * from intermediate.identity_evidence),

event_identifiers as (select * from staging.event_identifiers),

merging as (
    select distinct event_id
    from event_identifiers
    where role = 'merged_with'
),

stars as (
    select
        evidence.event_id,
        evidence.identifier_key,
        min(evidence.identifier_key) over (partition by evidence.event_id) as centre_key
    from evidence
    inner join merging on evidence.event_id = merging.event_id
    where not evidence.is_void
),

explicit_merges as (
    select distinct centre_key as from_key, identifier_key as to_key
    from stars
    where centre_key <> identifier_key
)

select * from explicit_merges
