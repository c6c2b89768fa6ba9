-- How the pipeline did, hour by hour, in the last 14 dates of the choice.
select
    event_date + to_hours(event_hour) as hour,
    silver_rows,
    quarantined_rows,
    late_rows,
    late_share,
    ingest_lag_s,
    ingest_lag_p99_s
from gold.pipeline_health
where event_date between $first and $last and event_date > $last - 14
order by hour
