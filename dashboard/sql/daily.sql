-- Plays and watch hours by date.
select event_date, sum(events) as events, sum(plays) as plays, sum(watch_seconds) / 3600 as watch_hours
from gold.audience_hours
where
    event_date between $first and $last
    and is_chosen(country, $countries)
    and is_chosen(device_type, $devices)
group by event_date
order by event_date
