-- The 20 most played titles of the choice.
select
    coalesce(max(title), title_id) as title,
    coalesce(max(content_type), 'unknown') as content_type,
    sum(plays) as plays,
    sum(watch_seconds) / 3600 as watch_hours
from gold.audience_titles
where
    event_date between $first and $last
    and is_chosen(country, $countries)
    and is_chosen(device_type, $devices)
group by title_id
having sum(plays) > 0
order by plays desc, watch_hours desc, title_id
limit 20
