-- table:   plan of a repair
-- grain:   one row of silver's null partition
-- purpose: the event time that each row without a usable one is to get, and where it was found.
-- reads:   silver (its null partition only)
-- columns:
--   topic, topic_id, kafka_partition, kafka_offset   the row's position
--   event_timestamp     repaired event time, UTC; null where no time is usable, or the row is held
--   event_date          its date
--   event_date_source   payload: read from a field of raw_payload; broker: the broker's time
--   found_in            the field and how it was read, for people: `event_ts in milliseconds`
--   why_not             why there is none: `held` (its repair was undone), `no usable time`
--   raw_payload         as in silver
--   file, row           where the row is
--
-- $times$ stands for one expression for each source of the rules, $ahead$ for their margin. At most one unit of a number
-- can be plausible, since the units are a factor of 1000 apart.
with payload as (
    select
        *,
        case when json_valid(raw_payload) then raw_payload end as document,
        coalesce(broker_timestamp, ingest_timestamp) + $ahead$ as latest,
        coalesce(starts_with(repair_id, 'held:'), false) as is_held
    from silver
    where event_date is null
),

read as (
    select *, case when not is_held then coalesce($times$) end as found
    from payload
)

select
    topic, topic_id, kafka_partition, kafka_offset,
    found.at as event_timestamp,
    cast(found.at as date) as event_date,
    found.source as event_date_source,
    found.found_in as found_in,
    case when is_held then 'held' when found is null then 'no usable time' end as why_not,
    raw_payload, file, row
from read
