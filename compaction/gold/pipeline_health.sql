-- table:   pipeline_health
-- grain:   date × hour
-- purpose: how the pipeline did, hour by hour. Silver's rows count by the hour of their event, refused records by the hour
--          in which they came in.
-- partition: event_date
-- reads:   silver 0d..0d, repeats 0d..0d, quarantine 0d..0d
-- columns:
--   event_date         date    the date (UTC)
--   event_hour         integer the hour, 0–23 (UTC)
--   silver_rows        bigint  rows of silver, repeats included
--   repeated_rows      bigint  of these, repeats that dedupe has not dropped yet
--   late_rows          bigint  of these, reached the broker more than an hour after the event time
--   quarantined_rows   bigint  records that were refused
--   bad_share          double  quarantined_rows ÷ (quarantined_rows + silver_rows)
--   late_share         double  late_rows ÷ silver_rows; null without rows
--   ingest_lag_s       double  median of the seconds from the broker to the worker; null without rows
--   ingest_lag_p99_s   double  99 % of the rows came within so many seconds
with rows_of_hour as (
    select
        event_date,
        epoch_us(event_timestamp) // 3600000000 % 24 as event_hour,
        count(*) as silver_rows,
        count(*) filter (where broker_timestamp > event_timestamp + interval 1 hour) as late_rows,
        quantile_disc(epoch_us(ingest_timestamp) - epoch_us(broker_timestamp), 0.5) / 1000000.0 as ingest_lag_s,
        quantile_disc(epoch_us(ingest_timestamp) - epoch_us(broker_timestamp), 0.99) / 1000000.0 as ingest_lag_p99_s
    from silver
    where event_date is not null
    group by event_date, epoch_us(event_timestamp) // 3600000000 % 24
),

repeated as (
    select event_date, epoch_us(event_timestamp) // 3600000000 % 24 as event_hour, count(*) as repeated_rows
    from repeats
    group by event_date, epoch_us(event_timestamp) // 3600000000 % 24
),

refused as (
    select
        ingest_date as event_date, epoch_us(ingest_timestamp) // 3600000000 % 24 as event_hour, count(*) as quarantined_rows
    from quarantine
    group by ingest_date, epoch_us(ingest_timestamp) // 3600000000 % 24
),

hours as (
    select event_date, event_hour from rows_of_hour
    union
    select event_date, event_hour from refused
)

select
    hours.event_date,
    hours.event_hour,
    coalesce(silver_rows, 0) as silver_rows,
    coalesce(repeated_rows, 0) as repeated_rows,
    coalesce(late_rows, 0) as late_rows,
    coalesce(quarantined_rows, 0) as quarantined_rows,
    cast(coalesce(quarantined_rows, 0) as double) / (coalesce(quarantined_rows, 0) + coalesce(silver_rows, 0)) as bad_share,
    cast(late_rows as double) / silver_rows as late_share,
    ingest_lag_s,
    ingest_lag_p99_s
from hours
left join rows_of_hour on hours.event_date = rows_of_hour.event_date and hours.event_hour = rows_of_hour.event_hour
left join repeated on hours.event_date = repeated.event_date and hours.event_hour = repeated.event_hour
left join refused on hours.event_date = refused.event_date and hours.event_hour = refused.event_hour
