-- The ten countries with most plays on $date, and their plays on average over the $days dates before.
select
    coalesce(country, 'none sent') as name,
    max(region) as detail,
    cast(coalesce(sum(plays) filter (where event_date = $date), 0) as bigint) as plays,
    coalesce(sum(watch_seconds) filter (where event_date = $date), 0) / 3600 as watch_hours,
    coalesce(sum(plays) filter (where event_date < $date), 0) / nullif(cast($days as double), 0) as before
from gold.audience_hours
where event_date between $date - $days and $date
group by country
having sum(plays) filter (where event_date = $date) > 0
order by plays desc, watch_hours desc, country
limit 10
