-- Plays by date and device type.
select
    event_date,
    coalesce(device_type, 'none') as device_type,
    sum(plays) as plays,
    sum(watch_seconds) / 3600 as watch_hours
from gold.audience_hours
where
    event_date between $first and $last
    and is_chosen(country, $countries)
    and is_chosen(device_type, $devices)
group by event_date, coalesce(device_type, 'none')
order by event_date, device_type
