-- What was wrong on $date, code by code, and how often on average over the $days dates before.
select
    code,
    outcome,
    cast(coalesce(sum("rows") filter (where event_date = $date), 0) as bigint) as found,
    coalesce(sum("rows") filter (where event_date < $date), 0) / nullif(cast($days as double), 0) as before
from gold.quality_codes
where event_date between $date - $days and $date
group by code, outcome
having sum("rows") filter (where event_date = $date) > 0
order by found desc, code, outcome
limit 12
