-- The scorecard's counts added up: of $date (`is_date`), and of the $days dates before. One or two rows.
select
    event_date = $date as is_date,
    cast(sum(silver_rows) as bigint) as silver_rows,
    cast(sum(repeated_rows) as bigint) as repeated_rows,
    cast(sum(from_payload_rows) as bigint) as from_payload_rows,
    cast(sum(from_broker_rows) as bigint) as from_broker_rows,
    cast(sum(late_rows) as bigint) as late_rows,
    cast(sum(reopened_rows) as bigint) as reopened_rows,
    cast(sum(unknown_title_rows) as bigint) as unknown_title_rows,
    cast(sum(unknown_country_rows) as bigint) as unknown_country_rows,
    cast(sum(unknown_device_rows) as bigint) as unknown_device_rows,
    cast(sum(warned_rows) as bigint) as warned_rows,
    cast(sum(null_partition_rows) as bigint) as null_partition_rows,
    cast(sum(quarantined_rows) as bigint) as quarantined_rows,
    sum(avg_quality_score * silver_rows) / nullif(sum(silver_rows), 0) as quality_score
from gold.quality_scorecard
where event_date between $date - $days and $date
group by event_date = $date
order by is_date desc
