-- Records by ten seconds of broker time, over the last ten minutes before the newest: all that came, and those refused.
-- Reads, of bronze and of quarantine, the files of one step (`…_files`: counts) and the rows of the others (`…_rows`).
with counted as (
    select time_bucket(interval 10 second, last) as moment, records, 0 as refused from bronze_files
    union all
    select time_bucket(interval 10 second, broker_timestamp), 1, 0 from bronze_rows
    where broker_timestamp > cast($newest as timestamptz) - interval 10 minute
    union all
    select time_bucket(interval 10 second, last), 0, records from quarantine_files
    union all
    select time_bucket(interval 10 second, broker_timestamp), 0, 1 from quarantine_rows
    where broker_timestamp > cast($newest as timestamptz) - interval 10 minute
)

select moment, cast(sum(records) as bigint) as records, cast(sum(refused) as bigint) as refused
from counted
where moment > cast($newest as timestamptz) - interval 10 minute
group by moment
order by moment
