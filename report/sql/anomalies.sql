-- The volume anomalies of $date, whole dates first, then by how far they are out.
select country, event_hour, events, expected, deviation, score
from gold.volume_anomalies
where event_date = $date
order by event_hour is not null, abs(score) desc, country, event_hour
