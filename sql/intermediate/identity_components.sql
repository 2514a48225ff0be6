-- Identifiers that links connect, however many steps apart, bear one component: their smallest key.
-- Grain: (identifier_key).

with recursive

identifiers as (select * from intermediate.identifiers),

links as (select * from intermediate.identity_links),

components using key (identifier_key) as (
    select identifier_key, identifier_key as component_key
    from identifiers
    union
    select links.to_key as identifier_key, min(components.component_key) as component_key
    from components
    inner join links on components.identifier_key = links.from_key
    inner join recurring.components as known on links.to_key = known.identifier_key
    where components.component_key < known.component_key
    group by links.to_key
)

select * from components
