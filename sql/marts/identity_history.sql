-- Whose each identifier was, build after build.
-- Grain: (namespace, identifier, since, valid_from_build).

with

history as (select * from meta.identity_history)

select * from history
