-- Links that were not made, by which rule, and the event that would have made them first.
-- Grain: (rule, namespace, identifier, other_namespace, other_identifier).

with

customers as (select * from intermediate.customers),

evidence as not materialized (select * from intermediate.identity_evidence),

links as (select * from intermediate.identity_links),

suspected as (
    select identifier_key, namespace, identifier
    from customers
    where refusal = 'suspected_placeholder'
),

-- How many devices and contacts it was seen with, by namespace: to name each would tell no more.
placeholders as (
    select
        'suspected_placeholder' as rule,
        suspected.identifier_key,
        suspected.namespace,
        suspected.identifier,
        companions.namespace as other_namespace,
        '(' || count(distinct companions.identifier_key) || ' of them)' as other_identifier,
        min(companions.place) as first_place,
        count(distinct companions.event_key) as events
    from suspected
    inner join evidence on suspected.identifier_key = evidence.identifier_key
    inner join evidence as companions on evidence.event_key = companions.event_key
    where
        companions.class <> 'strong'
        and evidence.is_named and companions.is_named
        and not evidence.is_void and not companions.is_void
    group by all
),

-- An identifier that links nothing: every strong id that it was seen with. Of a removed one, no name is left.
unlinked as (
    select
        customers.refusal as rule,
        customers.identifier_key,
        customers.namespace,
        customers.identifier,
        companions.namespace as other_namespace,
        case when companions.is_void then '(removed)' else companions.identifier end as other_identifier,
        min(companions.place) as first_place,
        count(distinct companions.event_key) as events
    from customers
    inner join evidence on customers.identifier_key = evidence.identifier_key
    inner join evidence as companions on evidence.event_key = companions.event_key
    where
        customers.refusal is not null and companions.class = 'strong' and not evidence.is_void
        and customers.refusal <> 'suspected_placeholder'
        and companions.identifier_key not in (select identifier_key from suspected)
    group by all
),

-- A link that would have joined two strong ids. (The weaker end is the one that was refused.)
conflicting as (
    select
        case
            when greatest(from_customers.strength, to_customers.strength) = from_customers.strength then from_customers
            else to_customers
        end as refused,
        case
            when greatest(from_customers.strength, to_customers.strength) = from_customers.strength then to_customers
            else from_customers
        end as other,
        links.first_place
    from links
    inner join customers as from_customers on links.from_key = from_customers.identifier_key
    inner join customers as to_customers on links.to_key = to_customers.identifier_key
    where from_customers.component_key <> to_customers.component_key
),

conflicts as (
    select
        case when conflicting.refused.class = 'contact' then 'contact_taken' else 'conflict' end as rule,
        conflicting.refused.identifier_key as identifier_key,
        conflicting.refused.namespace as namespace,
        conflicting.refused.identifier as identifier,
        conflicting.other.namespace as other_namespace,
        conflicting.other.identifier as other_identifier,
        conflicting.first_place,
        count(distinct evidence.event_key) as events
    from conflicting
    inner join evidence on conflicting.refused.identifier_key = evidence.identifier_key
    inner join evidence as companions
        on evidence.event_key = companions.event_key
        and conflicting.other.identifier_key = companions.identifier_key
    group by all
),

refusals as (
    select * from placeholders
    union all
    select * from unlinked
    union all
    select * from conflicts
),

dated as (
    select
        rule,
        namespace,
        identifier,
        other_namespace,
        other_identifier,
        first_place.event_id as first_event_id,
        first_place.occurred_at as first_refused_at,
        events,
        identifier_key
    from refusals
)

select * from dated
