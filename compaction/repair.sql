-- table:   plan of a repair
-- grain:   one row of silver's null partition
-- purpose: the event time that each row without a usable one is to get, and where it was found.
-- reads:   silver (its null partition only)
-- columns:
--   topic, topic_id, kafka_partition, kafka_offset   the row's position
--   event_timestamp     repaired event time, UTC; null where no time is usable
--   event_date          its date
--   event_date_source   payload: read from a time field of raw_payload; broker: the broker's time
--   found_in            the field and how it was read, for people: `event_ts in milliseconds`
--   raw_payload         as in silver
--   file, row           where the row is
--
-- A time of the payload is plausible from 2001-01-01 (dead clocks restart at 1970, 1980 or 2000) to a day after the
-- broker saw the event: the same bounds as the worker's. At most one unit of a number can be plausible, since the units
-- are a factor of 1000 apart.
create or replace temp macro plausible_time(text, latest) as (
    case
        when try_cast(text as double) between 978307200.0 and epoch(latest)
            then {'at': to_timestamp(try_cast(text as double)), 'form': 'in seconds'}
        when try_cast(text as double) between 978307200e3 and epoch(latest) * 1e3
            then {'at': to_timestamp(try_cast(text as double) / 1e3), 'form': 'in milliseconds'}
        when try_cast(text as double) between 978307200e6 and epoch(latest) * 1e6
            then {'at': to_timestamp(try_cast(text as double) / 1e6), 'form': 'in microseconds'}
        when regexp_matches(text, '^[0-9]{4}-[0-9]{2}-[0-9]{2}')
            and try_cast(text as timestamptz) between timestamptz '2001-01-01 00:00:00+00' and latest
            then {'at': try_cast(text as timestamptz), 'form': 'as ISO text'}
    end
);

with payload as (
    select
        topic, topic_id, kafka_partition, kafka_offset, broker_timestamp, ingest_timestamp, raw_payload, file, row,
        coalesce(
            case when json_valid(raw_payload) then json_extract_string(raw_payload, '$.event_ts') end,
            cast(event_ts as varchar)
        ) as event_ts_text,
        case when json_valid(raw_payload) then json_extract_string(raw_payload, '$.client_ts') end as client_ts_text,
        coalesce(broker_timestamp, ingest_timestamp) + interval 1 day as latest
    from silver
    where event_date is null
),

read as (
    select
        *,
        plausible_time(event_ts_text, latest) as event_ts_read,
        plausible_time(client_ts_text, latest) as client_ts_read,
        case
            when broker_timestamp between timestamptz '2001-01-01 00:00:00+00' and ingest_timestamp + interval 1 day
                then broker_timestamp
        end as broker_time
    from payload
),

chosen as (
    select
        *,
        coalesce(event_ts_read.at, client_ts_read.at, broker_time) as event_timestamp,
        case
            when event_ts_read.at is not null or client_ts_read.at is not null then 'payload'
            when broker_time is not null then 'broker'
        end as event_date_source,
        case
            when event_ts_read.at is not null then 'event_ts ' || event_ts_read.form
            when client_ts_read.at is not null then 'client_ts ' || client_ts_read.form
            when broker_time is not null then 'broker''s time'
        end as found_in
    from read
)

select
    topic, topic_id, kafka_partition, kafka_offset,
    event_timestamp,
    cast(event_timestamp as date) as event_date,
    event_date_source, found_in, raw_payload, file, row
from chosen
