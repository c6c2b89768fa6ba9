-- table:   quality_scorecard
-- grain:   date
-- purpose: how good the data of a date is. Columns that say "ingested" count rows by the date on which they came in,
--          since they have no usable event date; all others by event date.
-- partition: event_date
-- reads:   silver 0d..0d, repeats 0d..0d, null_partition 0d..0d, quarantine 0d..0d
-- columns:
--   event_date            date    the date (UTC)
--   silver_rows           bigint  rows of silver, repeats included
--   repeated_rows         bigint  of these, repeats that dedupe has not dropped yet; gold leaves them out
--   from_payload_rows     bigint  of these, repaired: event time from another field of the payload
--   from_broker_rows      bigint  of these, repaired: event time from the broker
--   late_rows             bigint  of these, reached the broker more than an hour after the event time
--   reopened_rows         bigint  of these, came in more than a day after the date had ended: they reopened a closed date
--   unknown_title_rows    bigint  of these, with a title that the catalogue lacks
--   unknown_country_rows  bigint  of these, with a missing or unknown country
--   unknown_device_rows   bigint  of these, with a missing or unknown device type
--   warned_rows           bigint  of these, with any warning
--   avg_quality_score     double  their mean quality_score, 0–1; null without rows
--   null_partition_rows   bigint  rows ingested on the date that still wait in the null partition
--   quarantined_rows      bigint  records ingested on the date that were refused
with judged as (
    select
        event_date,
        count(*) as silver_rows,
        count(*) filter (where event_date_source = 'payload') as from_payload_rows,
        count(*) filter (where event_date_source = 'broker') as from_broker_rows,
        count(*) filter (where broker_timestamp > event_timestamp + interval 1 hour) as late_rows,
        count(*) filter (where ingest_timestamp >= event_date + interval 2 day) as reopened_rows,
        count(*) filter (where list_contains(warnings, 'unknown_title')) as unknown_title_rows,
        count(*) filter (where list_contains(warnings, 'unknown_country')) as unknown_country_rows,
        count(*) filter (where list_contains(warnings, 'unknown_device_type')) as unknown_device_rows,
        count(*) filter (where array_length(warnings) > 0) as warned_rows,
        cast(sum(cast(quality_score as decimal(9, 6))) as double) / count(*) as avg_quality_score
    from silver
    where event_date is not null
    group by event_date
),

repeated as (
    select event_date, count(*) as repeated_rows from repeats group by event_date
),

undated as (
    select ingest_date, count(*) as null_partition_rows from null_partition group by ingest_date
),

refused as (
    select ingest_date, count(*) as quarantined_rows from quarantine group by ingest_date
)

select
    wanted.event_date,
    coalesce(silver_rows, 0) as silver_rows,
    coalesce(repeated_rows, 0) as repeated_rows,
    coalesce(from_payload_rows, 0) as from_payload_rows,
    coalesce(from_broker_rows, 0) as from_broker_rows,
    coalesce(late_rows, 0) as late_rows,
    coalesce(reopened_rows, 0) as reopened_rows,
    coalesce(unknown_title_rows, 0) as unknown_title_rows,
    coalesce(unknown_country_rows, 0) as unknown_country_rows,
    coalesce(unknown_device_rows, 0) as unknown_device_rows,
    coalesce(warned_rows, 0) as warned_rows,
    avg_quality_score,
    coalesce(null_partition_rows, 0) as null_partition_rows,
    coalesce(quarantined_rows, 0) as quarantined_rows
from wanted
left join judged on wanted.event_date = judged.event_date
left join repeated on wanted.event_date = repeated.event_date
left join undated on wanted.event_date = undated.ingest_date
left join refused on wanted.event_date = refused.ingest_date
where silver_rows is not null or null_partition_rows is not null or quarantined_rows is not null
