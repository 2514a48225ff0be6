-- The taxonomy's stages in order, with their roll-ups and labels.
-- Grain: (stage).

with

stages as (select * from taxonomy.stages)

select * from stages
