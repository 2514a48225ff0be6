-- Every identifier seen, and whether it may link the others that it is seen with.
-- Grain: (identifier_key).

with

evidence as not materialized (select * from intermediate.identity_evidence),

subjects as (select * from intermediate.identity_subjects),

suspected as (select * from intermediate.suspected_placeholders),

namespaces as (select * from taxonomy.namespaces),

seen as (
    select
        identifier_key,
        any_value(namespace) as namespace,
        any_value(identifier) as identifier,
        any_value(class) as class,
        any_value(strength) as strength,
        min(place) as first_place,
        max(place.occurred_at) as last_seen_at,
        count(*) as events
    from evidence
    where not is_void
    group by identifier_key
),

-- A removed identifier counts too: it still separates what was its from what is another's.
strong as (
    select
        evidence.event_key,
        evidence.namespace,
        evidence.is_void,
        coalesce(subjects.subject_key, evidence.identifier_key) as subject_key
    from evidence
    left join subjects on evidence.identifier_key = subjects.identifier_key
    -- Who is nobody shares no device with anybody.
    where evidence.class = 'strong' and evidence.identifier_key not in (select identifier_key from suspected)
),

companies as (
    select
        evidence.identifier_key,
        strong.namespace,
        count(distinct strong.subject_key) as subjects,
        bool_or(strong.is_void) as has_removed
    from evidence
    inner join strong on evidence.event_key = strong.event_key
    where evidence.class <> 'strong' and not evidence.is_void
    group by evidence.identifier_key, strong.namespace
),

-- Two strong ids conflict within one namespace only.
strong_company as (
    select identifier_key, max(subjects) as strong_identifiers, bool_or(has_removed) as has_removed
    from companies
    group by identifier_key
),

judged as (
    select
        seen.* exclude (first_place),
        seen.first_place.occurred_at as first_seen_at,
        seen.first_place.event_id as first_event_id,
        coalesce(strong_company.strong_identifiers, 0) as strong_identifiers,
        case
            when suspected.identifier_key is not null then 'suspected_placeholder'
            when seen.class = 'device' and strong_company.strong_identifiers >= 2 then 'shared_device'
            when strong_company.has_removed then 'removed_identity'
            when strong_company.strong_identifiers > namespaces.max_strong_identifiers then 'limit_exceeded'
        end as refusal
    from seen
    left join suspected on seen.identifier_key = suspected.identifier_key
    left join strong_company on seen.identifier_key = strong_company.identifier_key
    left join namespaces on seen.namespace = namespaces.namespace
)

select * from judged
