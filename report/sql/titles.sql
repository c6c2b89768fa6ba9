-- The ten most played titles of $date, and their plays on average over the $days dates before.
select
    coalesce(max(title), title_id) as name,
    max(content_type) as detail,
    cast(coalesce(sum(plays) filter (where event_date = $date), 0) as bigint) as plays,
    coalesce(sum(watch_seconds) filter (where event_date = $date), 0) / 3600 as watch_hours,
    coalesce(sum(plays) filter (where event_date < $date), 0) / nullif(cast($days as double), 0) as before
from gold.audience_titles
where event_date between $date - $days and $date
group by title_id
having sum(plays) filter (where event_date = $date) > 0
order by plays desc, watch_hours desc, title_id
limit 10
