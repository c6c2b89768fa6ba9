-- source:  repeats
-- grain:   one row of silver that repeats an event
-- purpose: positions of the rows that repeat an event_id which an earlier row holds, on the same date or within 3 days.
--          Earlier is the least (broker_timestamp, topic, kafka_partition, kafka_offset). Dedupe drops these rows; gold
--          leaves them out until it has.
-- reads:   silver -3d..3d linked by event_id
-- columns:
--   topic, topic_id, kafka_partition, kafka_offset   the row's position
--   event_date          its date
--   event_timestamp     its time
--
-- Ids are counted by their hash, a few bytes for each; only rows that share one are ranked, by id. An id that a broken
-- client sends a million times costs a sort, not a million squared: of a date only the first row is compared with other
-- dates.
with shared as (
    select hash(event_id) as id_hash
    from silver
    where event_date is not null
    group by hash(event_id)
    having count(*) > 1
),

candidates as (
    select
        event_id, event_date, topic, topic_id, kafka_partition, kafka_offset, event_timestamp,
        coalesce(broker_timestamp, timestamptz '9999-12-31 00:00:00+00') as arrived
    from silver
    where event_date is not null and hash(event_id) in (select id_hash from shared)
),

ranked as (
    select
        *,
        row_number() over (partition by event_id order by arrived, topic, topic_id, kafka_partition, kafka_offset)
            as place,
        row_number() over (
            partition by event_id, event_date order by arrived, topic, topic_id, kafka_partition, kafka_offset
        ) as place_on_date
    from candidates
),

repeated as (
    select * from ranked where place_on_date > 1
    union all
    select * from ranked as later
    where
        place_on_date = 1
        and exists (
            select 1
            from ranked as earlier
            where
                earlier.place_on_date = 1
                and earlier.event_id = later.event_id
                and earlier.place < later.place
                and abs(date_diff('day', earlier.event_date, later.event_date)) <= 3
        )
)

select topic, topic_id, kafka_partition, kafka_offset, event_date, event_timestamp
from repeated
where event_date in (select event_date from wanted)
