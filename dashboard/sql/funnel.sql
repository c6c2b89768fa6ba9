-- How far the viewings of the chosen dates got: steps in their order.
with steps as (
    select step, max(name) as name, cast(sum(viewings) as bigint) as viewings
    from gold.funnel
    where event_date between $first and $last
    group by step
)

select
    step,
    name,
    viewings,
    viewings / nullif(first_value(viewings) over (order by step), 0) as share_of_started,
    viewings / nullif(lag(viewings) over (order by step), 0) as share_of_previous
from steps
order by step
