-- How much of what happened is somebody's, and how much identity was refused: each number says what it counts.
-- Grain: (measure, value_of).

with

events as (select * from staging.events),

owners as (select * from intermediate.event_owners),

customers as (select * from intermediate.customers),

refusals as (select * from marts.identity_refusals),

undeclared as (select * from intermediate.undeclared_namespaces),

totals as (
    select
        (select count(*) from events) as events,
        (select count(*) from owners) as identified,
        (select count(*) filter (where evidence <> 'strongest_identifier') from owners) as by_policy
),

sizes as (
    select component_key, any_value(customer_id) as customer_id, count(*) as identifiers
    from customers
    group by component_key
),

event_measures as (
    select
        unnest(['all', 'identified', 'names_nobody', 'by_shared_device_policy']) as value_of,
        unnest([events, identified, events - identified, by_policy]) as counted,
        events
    from totals
),

kinds as (
    select 'events' as measure, value_of, counted, counted / nullif(events, 0) as share
    from event_measures
    union all
    select 'identifiers' as measure, class as value_of, count(*) as counted, count(*) / sum(count(*)) over () as share
    from customers
    group by class
    union all
    select
        'customers' as measure,
        case when is_known then 'known' else 'anonymous' end as value_of,
        count(distinct component_key) as counted,
        null as share
    from customers
    group by is_known
    union all
    select 'shared_devices' as measure, 'all' as value_of, count(*) as counted, null as share
    from customers
    where class = 'device' and refusal in ('shared_device', 'removed_identity')
    union all
    select 'refusals' as measure, rule as value_of, count(*) as counted, null as share
    from refusals
    group by rule
    union all
    select
        'undeclared_namespaces' as measure, undeclared.namespace as value_of, undeclared.events as counted,
        undeclared.events / nullif(totals.events, 0) as share
    from undeclared
    cross join totals
    union all
    (
        select 'largest_customers' as measure, customer_id as value_of, identifiers as counted, null as share
        from sizes
        order by identifiers desc, customer_id
        limit 10
    )
),

measures as (
    select kinds.*, undeclared.nearest_namespace
    from kinds
    left join undeclared on kinds.measure = 'undeclared_namespaces' and kinds.value_of = undeclared.namespace
)

select * from measures
