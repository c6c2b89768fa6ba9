-- Plays of each hour of $date (UTC), and on average over the $days dates before.
with hours as (
    select unnest(range(24)) as event_hour
)

select
    hours.event_hour,
    cast(coalesce(sum(plays) filter (where event_date = $date), 0) as bigint) as plays,
    coalesce(sum(plays) filter (where event_date < $date), 0) / nullif(cast($days as double), 0) as before
from hours
left join gold.audience_hours as audience
    on hours.event_hour = audience.event_hour and audience.event_date between $date - $days and $date
group by hours.event_hour
order by hours.event_hour
