-- Plays by country.
select
    coalesce(country, 'none') as country,
    max(region) as region,
    sum(plays) as plays,
    sum(watch_seconds) / 3600 as watch_hours,
    sum(plays) / nullif(sum(sum(plays)) over (), 0) as share
from gold.audience_hours
where
    event_date between $first and $last
    and is_chosen(country, $countries)
    and is_chosen(device_type, $devices)
group by coalesce(country, 'none')
order by plays desc, country
