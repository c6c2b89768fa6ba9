-- One row: what was played and watched in the choice.
select
    coalesce(sum(plays), 0) as plays,
    coalesce(sum(watch_seconds), 0) / 3600 as watch_hours,
    count(distinct title_id) filter (where plays > 0) as titles,
    count(distinct country) filter (where plays > 0) as countries
from gold.audience_titles
where
    event_date between $first and $last
    and is_chosen(country, $countries)
    and is_chosen(device_type, $devices)
