-- Why rows moved: each customer whose rows a build changed, and what caused it.
-- Grain: (build_order, table, customer_id).

with

ledger as (select * from meta.restatements)

select * from ledger
