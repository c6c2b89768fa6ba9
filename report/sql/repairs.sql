-- Rows of $date and of each of the $days dates before that got their date by repair, and rows that still wait for one.
select
    event_date,
    from_payload_rows,
    from_broker_rows,
    null_partition_rows
from gold.quality_scorecard
where event_date between $date - $days and $date
order by event_date
