-- What a converted attempt of each funnel brings in, in the currency that most of them are paid in.
-- Grain: (funnel).

with

earned as (select * from intermediate.attempt_revenues),

currencies as (
    select funnel, paid.currency as currency
    from earned
    where paid is not null
    group by funnel, paid.currency
    qualify row_number() over (partition by funnel order by count(*) desc, paid.currency) = 1
),

-- Those who paid nothing count too; those who paid in another currency cannot be added.
values_of_conversion as (
    select
        currencies.funnel,
        currencies.currency,
        coalesce(sum(earned.paid.revenue), 0) / count(*) as revenue_per_conversion
    from currencies
    inner join earned on currencies.funnel = earned.funnel
    where earned.paid is null or earned.paid.currency is not distinct from currencies.currency
    group by currencies.funnel, currencies.currency
)

select * from values_of_conversion
