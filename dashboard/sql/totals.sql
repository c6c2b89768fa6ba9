-- One row: what was played and watched in the choice.
select
    coalesce(sum(plays), 0) as plays,
    coalesce(sum(watch_seconds), 0) / 3600 as watch_hours,
    count(distinct title_id) filter (where plays > 0) as titles,
    count(distinct country) filter (where plays > 0) as countries
from gold.audience_titles
where
    event_date between $first and $last
    and (len(cast($countries as text[])) = 0 or list_contains(cast($countries as text[]), coalesce(country, 'none')))
    and (len(cast($devices as text[])) = 0 or list_contains(cast($devices as text[]), coalesce(device_type, 'none')))
