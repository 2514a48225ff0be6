-- Each namespace that nobody has declared, and the declared one that is spelled most like it.
-- Grain: (namespace).

with

undeclared as (select * from staging.undeclared_identifiers),

namespaces as (select * from taxonomy.namespaces),

counted as (
    select namespace, count(distinct event_key) as events
    from undeclared
    group by namespace
),

-- By spelling alone (Jaro and Winkler, 1990); whether it is meant, only its owner knows.
nearest as (
    select
        counted.namespace,
        counted.events,
        arg_max(
            namespaces.namespace,
            (jaro_winkler_similarity(lower(counted.namespace), lower(namespaces.namespace)), -namespaces.strength)
        ) as nearest_namespace
    from counted
    cross join namespaces
    group by counted.namespace, counted.events
)

select * from nearest
