-- Plays by date and device type.
select
    event_date,
    coalesce(device_type, 'none') as device_type,
    sum(plays) as plays,
    sum(watch_seconds) / 3600 as watch_hours
from gold.audience_hours
where
    event_date between $first and $last
    and (len(cast($countries as text[])) = 0 or list_contains(cast($countries as text[]), coalesce(country, 'none')))
    and (len(cast($devices as text[])) = 0 or list_contains(cast($devices as text[]), coalesce(device_type, 'none')))
group by event_date, coalesce(device_type, 'none')
order by event_date, device_type
