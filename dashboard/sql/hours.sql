-- Plays by date and hour (UTC), of the last 28 dates of the choice.
select event_date, event_hour, sum(plays) as plays, sum(watch_seconds) / 3600 as watch_hours
from gold.audience_hours
where
    event_date between $first and $last
    and is_chosen(country, $countries)
    and is_chosen(device_type, $devices)
    and event_date > $last - 28
group by event_date, event_hour
order by event_date, event_hour
