-- Volume anomalies of the chosen dates and countries, newest first.
select
    event_date,
    coalesce(country, 'none') as country,
    event_hour,
    if(deviation < 0, 'fewer', 'more') as direction,
    events,
    expected,
    deviation,
    score,
    weeks
from gold.volume_anomalies
where event_date between $first and $last and is_chosen(country, $countries)
order by event_date desc, event_hour is not null, abs(score) desc, country, event_hour
